"""Backbones: tokens of a batch of images."""
