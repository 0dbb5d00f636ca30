"""Collections, benchmarks and datasets: which images, with which annotations and queries, decoded how."""
