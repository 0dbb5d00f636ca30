"""The browser's server: pages, searches, pictures, and the process that indexes."""
