"""The parts of `core.experiment`: what people ask, what workers tell, and what the supervisor mends."""
