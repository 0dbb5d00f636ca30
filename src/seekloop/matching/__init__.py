"""Queries against a collection: which images show what each searches for, and where."""
