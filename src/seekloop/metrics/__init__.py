"""Measures of rankings, boxes, clusterings and curves. Pure functions of tensors."""
