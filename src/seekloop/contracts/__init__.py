"""Records, protocols and errors that folders hand each other, recipes, and the small tools that every folder needs."""
