"""A bench for data sets."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from dataset_bench import Bench

from core.redis_server import EmbeddedServer
from core.settings import read_settings
from roles.runtime.services import WorkerServices


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the bundled recogniser is joined once."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def bench(server: EmbeddedServer, empty_records: Path, models: Path, tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "models").symlink_to(models)
    settings = read_settings(data_path=tmp_path, redis_prefix=f"{tmp_path.name}:", database_url="", storage_url="")
    shutil.copy(empty_records, settings.resolved_database_url.partition("///")[2])
    services = WorkerServices(settings, server.url)
    yield Bench(services)
    services.close()
