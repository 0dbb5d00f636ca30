"""Classifiers: scorers from labelled rows."""
