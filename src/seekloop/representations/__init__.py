"""Representations: rows of a labelled image, and scores of images from scores of regions."""
