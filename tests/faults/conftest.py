"""Daemons with toy roles whose queue server is elsewhere, behind a proxy that misbehaves on command."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_stage import Stage
from faulty_daemon import FaultyDaemon

from benchmarks.chaos.fault_proxy import FaultProxy
from core.redis_server import EmbeddedServer

_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path_factory.mktemp("faults-redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def proxy(server: EmbeddedServer) -> Iterator[FaultProxy]:
    with FaultProxy.to(server.url) as proxy:
        yield proxy


@pytest.fixture
def distant(tmp_path: Path, stage: Stage, server: EmbeddedServer, proxy: FaultProxy) -> Iterator[FaultyDaemon]:
    """Yield one whose queue server is reached through the proxy."""
    daemon = FaultyDaemon(tmp_path / "distant", stage, server.url, proxy, f"faults{next(_numbers)}:")
    yield daemon
    daemon.close()
