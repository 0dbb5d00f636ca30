"""The browser page of a person's search, and the HTTP API that drives the loop for it."""
