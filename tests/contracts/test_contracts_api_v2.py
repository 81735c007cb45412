"""Upstream's HTTP interfaces, and the programs that use them."""

from __future__ import annotations

import pytest
from contract_examples import parameters

SERVICE = "api_v2"
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("example", parameters(SERVICE))
def test_an_example_of_api_v2_is_answered_as_its_clients_expect(example: str, faults: dict[str, list[str]]) -> None:
    assert not faults[example]
