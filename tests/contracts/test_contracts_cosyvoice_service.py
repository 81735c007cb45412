"""Synthesis by a queue, on a server with keys."""

from __future__ import annotations

import pytest
from contract_examples import parameters

SERVICE = "cosyvoice_service"
KEYS = True
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("example", parameters(SERVICE, with_keys=True))
def test_an_example_of_the_cosyvoice_service_is_answered_as_its_clients_expect(
    example: str, faults: dict[str, list[str]]
) -> None:
    assert not faults[example]
