"""A bench for data sets on a queue server of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from dataset_bench import Bench

from core.records import upgrade
from core.redis_server import EmbeddedServer
from core.settings import read_settings
from roles.runtime.services import WorkerServices


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path_factory.mktemp("datasets-redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def empty_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with all tables and no rows, to copy."""
    path = tmp_path_factory.mktemp("records") / "empty.sqlite3"
    upgrade(f"sqlite+aiosqlite:///{path}")
    return path


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
