"""A page on this machine that explains a model: a server on the loopback address, and what it answers."""
