"""The parts of `core.experiments.service`: what people ask, what workers tell, and what the supervisor mends."""
