"""The start and stop scripts of the training service's contract, its application under gunicorn, its YAML file."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from daemon_stage import until

from common.operating_system import is_alive
from core.settings import REPOSITORY
from scripts.demo_daemon import descendants

pytestmark = pytest.mark.slow
PARTS = (
    "api",
    "client",
    "commands",
    "common",
    "core",
    "roles",
    "supervisor",
    "GPT_SoVITS",
    "prompts",
    "scripts",
    "main.py",
)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture
def environment(tmp_path: Path, port: int) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    path = f"{Path(sys.executable).parent}:{inherited['PATH']}"
    data = {"DATA_PATH": str(tmp_path / "data"), "PORT": str(port), "NUM_MODELS": "1", "NUM_PREPROCESSORS": "1"}
    return {**inherited, **data, "PATH": path, "GPT_SOVITS_SERVER_MODE": "standalone"}


@pytest.fixture
def script(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run a script of `server/` in a checkout of its own; what it started ends with the test."""
    checkout = tmp_path / "check out"
    shutil.copytree(REPOSITORY / "server", checkout / "server", ignore=shutil.ignore_patterns("__pycache__"))
    for part in PARTS:
        (checkout / part).symlink_to(REPOSITORY / part)

    def run(name: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(checkout / "server" / name), *options],
            cwd="/",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    yield run
    run("stop_service.sh", "-f")


def service_pid(tmp_path: Path) -> int:
    return int((tmp_path / "check out" / "run" / "service.pid").read_text())


def test_production_in_the_background_starts_once_answers_and_stops(script, tmp_path, port):
    started = script("start_service.sh", "-m", "production", "-w", "2", "--daemon")
    pid = service_pid(tmp_path)
    health = httpx.get(f"http://127.0.0.1:{port}/health", timeout=30)
    processes = descendants(pid)
    again = script("start_service.sh", "-m", "production", "--daemon")
    upload = httpx.post(
        f"http://127.0.0.1:{port}/api/v1/files",
        files={"file": ("prompt.wav", (REPOSITORY / "prompts" / "allison" / "prompt.wav").read_bytes())},
        timeout=60,
    )
    stopped = script("stop_service.sh", "--cleanup")

    assert started.returncode == 0, started.stderr
    assert f"The service runs at http://127.0.0.1:{port} (process {pid}, log: " in started.stdout
    assert health.status_code == 200
    assert again.stdout == f"The service runs already (process {pid}). stop_service.sh ends it.\n"
    assert again.returncode == 0
    assert upload.status_code == 201
    assert stopped.returncode == 0, stopped.stderr
    assert not [process for process in processes if is_alive(process)]
    assert (tmp_path / "check out" / "logs" / "service.log").stat().st_size > 0
    assert not (tmp_path / "data" / "run").exists()
    assert list((tmp_path / "data" / "storage" / "files").rglob("*"))  # an upload is no temporary file


def test_development_answers_with_one_process_and_a_forced_stop_leaves_nothing(script, tmp_path, port):
    started = script("start_service.sh", "--daemon")
    pid = service_pid(tmp_path)
    created = httpx.post(
        f"http://127.0.0.1:{port}/api/v1/task/create",
        json={"task_name": "语音", "config": {"version": "nano"}},
        timeout=30,
    )
    processes = descendants(pid)

    stopped = script("stop_service.sh", "-f")

    assert started.returncode == 0, started.stderr
    assert created.status_code == 200, created.text
    assert created.json()["task_name"] == "语音"
    assert stopped.returncode == 0
    until(lambda: not [process for process in processes if is_alive(process)], seconds=60)
    assert script("stop_service.sh").stdout == "The service does not run.\n"


def test_a_start_that_fails_says_why(script, environment):
    environment["NUM_MODELS"] = "many"

    started = script("start_service.sh", "-m", "production", "--daemon")

    assert started.returncode == 1
    assert "NUM_MODELS is 'many'" in started.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("-m", "test"), "test is no mode"),
        (("-w", "0"), "-w is 0; it is a number from 1 to 99."),
        (("-w", "4"), "-w 4 goes with -m production"),
        (("--what",), "--what is no option"),
    ],
)
def test_an_option_that_is_none_is_told(script, options, sentence):
    answer = script("start_service.sh", *options)

    assert answer.returncode == 2
    assert sentence in answer.stderr


def test_help_explains_the_options(script):
    for name in ("start_service.sh", "stop_service.sh"):
        answer = script(name, "-h")

        assert answer.returncode == 0
        assert "From any folder." in answer.stdout


def test_the_application_runs_under_gunicorn_with_several_processes(environment, tmp_path, port):
    command = [sys.executable, "-m", "gunicorn", "-w", "2", "-k", "uvicorn.workers.UvicornWorker"]
    command += ["--bind", f"127.0.0.1:{port}", "--timeout", "7200", "server.training_service:app"]
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
        try:
            until(lambda: process.poll() is not None or answers(f"{url}/health"), seconds=120)
            until(lambda: process.poll() is not None or answers(f"{url}/readyz"), seconds=120)
            created = httpx.post(f"{url}/api/v1/task/create", json={"task_name": "a", "config": {}}, timeout=30)
            spoken = httpx.post(
                f"{url}/v1/audio/speech", json={"input": "One.", "voice": "allison", "verify": "off"}, timeout=120
            )
            processes = descendants(process.pid)
        finally:
            process.terminate()
            process.wait(timeout=120)

    assert created.status_code == 200, (tmp_path / "log").read_text()
    assert spoken.status_code == 200
    assert len(spoken.content) > 1000
    until(lambda: not [pid for pid in processes if is_alive(pid)], seconds=60)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False
