"""Descriptors: vectors from tokens and regions."""
