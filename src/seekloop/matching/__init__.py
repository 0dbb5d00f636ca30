"""One query against a ranking."""
