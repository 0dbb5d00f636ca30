"""Metrics: how good a ranking, a box, a clustering or a curve is."""
