"""The modes of a deployment, and the names that other servers' settings have."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.deployment import ineffective_settings, start_line
from core.settings import BadSettings, read_settings
from core.storage.bucket import Bucket

POSTGRES = "postgresql+asyncpg://user:s3cret@db.example/gpt_sovits"
SERVER = {
    "DEPLOYMENT_MODE": "server",
    "DATABASE_URL": POSTGRES,
    "REDIS_URL": "redis://:s3cret@queue.example:6379/0",
    "S3_ENDPOINT": "minio.example:9000",
}
NAMES = (
    *("DEPLOYMENT_MODE", "DATABASE_URL", "REDIS_URL", "REDIS_HOST", "STORAGE_URL", "S3_ENDPOINT", "SQLITE_PATH"),
    *("LOCAL_STORAGE_PATH", "LOCAL_MAX_WORKERS", "CELERY_BROKER_URL", "MAX_TRAINING_CONCURRENT_CPU", "API_V1_PREFIX"),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty working folder; no setting of this machine is read."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_PATH", str(tmp_path / "data"))
    return tmp_path


def set_all(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


def test_local_mode_uses_no_outside_service(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    set_all(monkeypatch, SERVER | {"DEPLOYMENT_MODE": "LOCAL"})

    settings = read_settings()

    assert settings.resolved_redis_url == ""
    assert settings.resolved_database_url == f"sqlite+aiosqlite:///{folder}/data/sovitsd.sqlite3"
    assert settings.storage_root == folder / "data" / "storage"
    assert start_line(settings).startswith("Starting in LOCAL mode: SQLite ")
    assert ineffective_settings(settings) == [
        "DEPLOYMENT_MODE=local uses no outside services; DATABASE_URL, REDIS_URL, S3_ENDPOINT have no effect."
    ]


def test_server_mode_names_its_parts_without_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, SERVER)

    line = start_line(read_settings())

    assert line == ("Starting in SERVER mode: PostgreSQL at db.example, Redis at queue.example:6379, s3://gpt-sovits.")


def test_server_mode_without_its_services_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOYMENT_MODE", "server")
    monkeypatch.setenv("REDIS_URL", "redis://localhost:6379/0")

    with pytest.raises(BadSettings, match="DEPLOYMENT_MODE=server needs DATABASE_URL, S3_ENDPOINT"):
        read_settings()


@pytest.mark.parametrize("name", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_the_prefixes_of_a_database_are_one(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    set_all(monkeypatch, SERVER | {"DATABASE_URL": f"{name}://user:pass@db.example/gpt_sovits"})

    assert "PostgreSQL at db.example" in start_line(read_settings())


def test_the_broker_of_celery_stands_in_for_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://broker.example:6379/1")
    assert read_settings().resolved_redis_url == "redis://broker.example:6379/1"

    monkeypatch.setenv("REDIS_URL", "redis://queue.example:6379/0")
    assert read_settings().resolved_redis_url == "redis://queue.example:6379/0"


def test_files_and_records_lie_where_the_settings_say(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    set_all(monkeypatch, {"LOCAL_STORAGE_PATH": "./data/files", "SQLITE_PATH": "./data/app.db"})

    settings = read_settings()

    assert settings.storage_root == folder / "data" / "files"
    assert settings.resolved_database_url == f"sqlite+aiosqlite:///{folder}/data/app.db"


def test_one_number_of_workers_sets_both_limits_unless_a_finer_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {"LOCAL_MAX_WORKERS": "3", "MAX_TRAINING_CONCURRENT_CPU": "1"})

    settings = read_settings()

    assert (settings.max_training_concurrent_gpu, settings.max_training_concurrent_cpu) == (3, 1)


def test_the_yaml_form_of_a_mode_is_read_behind_the_environment(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "config").mkdir()
    (folder / "config" / "local.yaml").write_text(
        "deployment_mode: local\nlocal_storage_path: ./data/files\nsqlite_path: ./data/app.db\nlocal_max_workers: 2\n"
    )
    (folder / "config" / "server.yaml").write_text(
        f"deployment_mode: server\ndatabase_url: {POSTGRES}\nredis_url: redis://queue.example:6379/0\n"
        "celery_broker_url: redis://queue.example:6379/1\ns3_endpoint: minio.example:9000\n"
    )

    local = read_settings()
    monkeypatch.setenv("DEPLOYMENT_MODE", "server")
    monkeypatch.setenv("S3_ENDPOINT", "other.example:9000")
    server = read_settings()

    assert (local.deployment_mode, local.max_training_concurrent_cpu) == ("local", 2)
    assert local.storage_root == folder / "data" / "files"
    assert (server.deployment_mode, server.s3_endpoint) == ("server", "other.example:9000")
    assert server.resolved_redis_url == "redis://queue.example:6379/0"


def test_the_port_of_a_desktop_shell_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {"PORT": "3000", "API_PORT": "8765"})

    assert read_settings().port == 8765


def test_another_prefix_is_told_to_have_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_V1_PREFIX", "/api/v9")

    assert ineffective_settings(read_settings()) == [
        "API_V1_PREFIX is '/api/v9'; the paths begin with /api/v1 all the same."
    ]


def test_a_missing_bucket_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, buckets: object) -> None:
    set_all(monkeypatch, {"S3_ENDPOINT": f"127.0.0.1:{buckets.port}", "S3_BUCKET": "voices-of-a-test"})  # type: ignore[attr-defined]
    settings = read_settings()
    source = tmp_path / "a.txt"
    source.write_bytes(b"a")

    bucket = Bucket(settings.resolved_storage_url)
    bucket.make()
    bucket.upload(source, "a")
    bucket.make()

    assert settings.makes_bucket
    assert bucket.head("a") is not None
