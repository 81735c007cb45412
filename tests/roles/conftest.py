"""A worker in this process, on a queue server of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from running_worker import Running, Script
from stage_bench import Prepared, StageBench, speech

from core.jobs.job import Job
from core.redis_server import EmbeddedServer
from core.settings import Settings, read_settings
from GPT_SoVITS.features.whisper_model import model_folder
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices
from roles.runtime.worker import Worker


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path_factory.mktemp("roles-redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Keys of its own for each test."""
    return read_settings(
        data_path=tmp_path,
        redis_prefix=f"{tmp_path.name}:",
        worker_retry_delay_seconds=0,
        consent_check_seconds=0.05,
    )


@pytest.fixture
def services(server: EmbeddedServer, settings: Settings) -> Iterator[WorkerServices]:
    services = WorkerServices(settings, server.url)
    yield services
    services.close()


@pytest.fixture
def work(services: WorkerServices, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Running]]:
    """Start workers that do what a function says; drain them at the end."""
    monkeypatch.setattr("roles.runtime.worker.CLAIM_SECONDS", 0.1)  # a drain waits for it
    started: list[Running] = []

    def start(act: Callable[[Job, JobContext], dict[str, Any]], **attributes: Any) -> Running:
        slots = attributes.pop("slots", 1)
        role = Script(act, **attributes)
        name = f"{role.name}-test-{len(started)}-{services.settings.redis_prefix}"
        worker = Worker(role, services, name, slots=slots)
        thread = threading.Thread(target=worker.run)
        thread.start()
        started.append(Running(worker, role, thread))
        return started[-1]

    yield start
    for running in started:
        running.drain()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of models that holds the bundled recognizer."""
    folder = tmp_path_factory.mktemp("models")
    model_folder(folder)
    return folder


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """21 seconds of one person speaking."""
    return speech(tmp_path_factory.mktemp("recording") / "recording.wav")


@pytest.fixture
def stage_bench(server: EmbeddedServer, settings: Settings) -> Iterator[StageBench]:
    """Two cores, and nothing prepared."""
    stage_bench = StageBench(settings, server.url, threads=2)
    yield stage_bench
    stage_bench.close()


@pytest.fixture(scope="session")
def prepared(
    server: EmbeddedServer, models: Path, recording: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prepared]:
    """One experiment for all tests, whose stages each run once."""
    data = tmp_path_factory.mktemp("prepared")
    (data / "models").symlink_to(models)
    stage_bench = StageBench(read_settings(data_path=data, redis_prefix="prepared:"), server.url, threads=2)
    yield Prepared(stage_bench, stage_bench.upload(recording))
    stage_bench.close()
