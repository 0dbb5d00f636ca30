"""Parts of an image that get a descriptor of their own."""
