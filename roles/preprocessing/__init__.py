"""The preparing stages, each a function of its run."""
