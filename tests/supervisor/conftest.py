"""Daemons with toy roles, and the stage that they perform on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_stage import Daemon, Stage, until


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    return until


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture
def daemon(tmp_path: Path, stage: Stage) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "data", stage)
    yield daemon
    daemon.close()
