"""The records as frozen dataclasses, one module per kind; times are seconds since the epoch, None means not yet."""
