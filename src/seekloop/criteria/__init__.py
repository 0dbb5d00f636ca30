"""Criteria: which images are asked about next."""
