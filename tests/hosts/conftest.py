"""What two hosts share, started for the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts_stage import Host, Shared

from core.redis_server import EmbeddedServer


@pytest.fixture
def shared(postgres: Any, buckets: Any, tmp_path: Path) -> Iterator[Shared]:
    server = EmbeddedServer(tmp_path / "redis")
    server.start()
    yield Shared(server.url, postgres.new_database(), buckets.new_bucket())
    server.stop()


@pytest.fixture
def new_host(shared: Shared, tmp_path: Path) -> Iterator[Callable[[str], Host]]:
    """Make hosts; all are stopped at the end."""
    hosts: list[Host] = []

    def make(name: str) -> Host:
        hosts.append(Host(tmp_path / name, shared))
        return hosts[-1]

    yield make
    for host in hosts:
        host.stop()
