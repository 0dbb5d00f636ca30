"""Descriptors on disk: written in shards, resumed, verified, memory-mapped."""

from seekloop.store.reader import Store, open_store

__all__ = ["Store", "open_store"]
