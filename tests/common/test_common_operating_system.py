"""Another operating system: everything is imported where macOS or Windows is pretended, and a host starts on macOS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from daemon_stage import until
from process_children import children_of
from process_end import wait_for_end

from common.operating_system import is_alive
from core.redis_server import EmbeddedServer

REPOSITORY = Path(__file__).resolve().parents[2]
LAUNCHER = REPOSITORY / "common" / "parent_death.py"
SYSTEMS = ("darwin", "win32")
IMPORT_ALL = """
import importlib, pathlib, sys
for package in ("common", "core", "recovery", "supervisor", "api", "commands", "roles"):
    for path in sorted(pathlib.Path(package).rglob("*.py")):
        name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        if "migrations" not in name and name != "common.windows":
            importlib.import_module(name)
print(sys.platform)
"""
LOCKING = """
import sys
from common.operating_system import lock_file
files = [open(sys.argv[1], "a") for _ in range(3)]
lock_file(files[0], shared=True)
lock_file(files[1], shared=True, wait=False)
try:
    lock_file(files[2], wait=False)
except BlockingIOError:
    print("held")
files[0].close()
files[1].close()
lock_file(files[2], wait=False)
print("free")
"""
PARENT = """
import os, subprocess, sys
command = f"import sys, runpy; sys.platform = 'darwin'; runpy.run_path({sys.argv[1]!r}, run_name='__main__')"
child = subprocess.Popen([sys.executable, "-c", command, str(os.getpid()), "sleep", "600"], start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""


def environment(system: str, **settings: str) -> dict[str, str]:
    folders = (REPOSITORY / "tests" / "other_systems", REPOSITORY)
    return {
        "PATH": os.environ["PATH"],
        "PRETENDED_SYSTEM": system,
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "OMP_NUM_THREADS": "1",
        **settings,
    }


def run(system: str, program: str, *arguments: str, **settings: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment(system, **settings),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_module_can_be_imported_there(system):
    assert run(system, IMPORT_ALL, PRETENDED_SYSTEM_KNOWN_TO="av huggingface_hub librosa torch").endswith(f"{system}\n")


@pytest.mark.parametrize("system", ["linux", *SYSTEMS])
def test_a_file_is_locked_by_one_or_shared_by_several(system, tmp_path):
    assert run(system, LOCKING, str(tmp_path / "lock")) == "held\nfree\n"


def test_where_the_kernel_kills_no_child_a_watcher_does(tmp_path):
    with subprocess.Popen([sys.executable, "-c", PARENT, str(LAUNCHER)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        until(lambda: b"sleep" in Path(f"/proc/{child}/cmdline").read_bytes(), seconds=60)
        assert is_alive(child)
        parent.kill()

    assert wait_for_end(child, seconds=60)


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    server = EmbeddedServer(tmp_path / "redis")
    server.start()
    yield server.url
    server.stop()


@pytest.mark.slow
def test_a_host_starts_answers_and_stops_on_macos(tmp_path, redis_url):
    settings = {"DATA_PATH": str(tmp_path / "data"), "PORT": "0", "REDIS_URL": redis_url}
    with (
        (tmp_path / "log").open("w+") as log,
        subprocess.Popen(
            [sys.executable, str(REPOSITORY / "main.py"), "serve", "--roles", "splitter"],
            env=environment("darwin", **settings),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as daemon,
    ):
        try:
            assert daemon.stdout is not None
            line = daemon.stdout.readline()
            assert "Uvicorn running on" in line, (tmp_path / "log").read_text()
            with httpx.Client(base_url=line.split()[-1], timeout=60) as client:
                assert client.get("/health").status_code == 200
                until(lambda: "processes are ready" in (tmp_path / "log").read_text(), seconds=120)
                voices = client.get("/api/v1/voices").json()["items"]
            children = children_of(daemon.pid)
            daemon.send_signal(signal.SIGTERM)
            status = daemon.wait(120)
        finally:
            daemon.kill()

    assert status == 0, (tmp_path / "log").read_text()
    assert voices
    assert len(children) >= 2
    assert all(wait_for_end(pid, seconds=60) for pid in children)
