"""Quick mode, expert mode and the desktop shell."""

from __future__ import annotations

import pytest
from contract_examples import parameters

SERVICE = "tasks_service"
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("example", parameters(SERVICE))
def test_an_example_of_the_tasks_service_is_answered_as_its_clients_expect(
    example: str, faults: dict[str, list[str]]
) -> None:
    assert not faults[example]
