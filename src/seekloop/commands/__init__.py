"""Commands and the Python interface: what each does, and how it is composed from a config."""
