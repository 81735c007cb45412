"""The parts of the trainer: child programs under control, kept checkpoints, and the choice among them."""
