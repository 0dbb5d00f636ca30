"""Contents of artifacts on disk: descriptors, found regions, maps, indices."""

from seekloop.store.reader import Store, open_store

__all__ = ["Store", "open_store"]
