"""Which parts of an image get a descriptor of their own."""
