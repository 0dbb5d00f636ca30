"""Regions: which parts of an image get a descriptor."""
