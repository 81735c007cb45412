"""Facts and small helpers that every package shares. It imports the standard library only."""
