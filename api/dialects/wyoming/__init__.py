"""The Wyoming protocol, by which Home Assistant speaks: a port of its own beside that of HTTP."""
