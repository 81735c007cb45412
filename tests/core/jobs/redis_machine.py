"""State machines of hypothesis that work on a queue server, and how they are run."""

from __future__ import annotations

import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


class RedisMachine(RuleBasedStateMachine):
    """Begins with an empty server."""

    client: redis.Redis

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()


def run_machine(machine: type[RedisMachine], client: redis.Redis, *, examples: int, steps: int) -> None:
    """Run so many examples of so many steps, the same ones each time."""
    machine.client = client
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate,),  # a failure is readable as it is, and shrinking takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
