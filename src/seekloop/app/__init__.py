"""How does a person search on a page? Searches of one collection over HTTP, and the page that drives them."""
