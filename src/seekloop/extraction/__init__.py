"""Stages by Lightning's predict: images are described, and regions detected."""
