"""The executable of a bundle: it starts itself for everything that Python would start, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest
from bundled_speech import ALLISON
from daemon_stage import until
from frozen_stand_in import frozen_stand_in
from process_children import children_of
from process_end import wait_for_end

from benchmarks.chaos.announced_server import announced_server
from common.programs import BOUND_OPTION, DECODER, PROGRAM_OPTION, PROGRAMS

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return frozen_stand_in(tmp_path_factory.mktemp("bundle"))


def run(executable: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(executable), *arguments], env=ENVIRONMENT | environment, capture_output=True, text=True, check=False
    )


def test_a_program_of_the_list_runs_with_its_arguments(executable):
    recording = ALLISON / "prompt.wav"

    decoded = run(executable, PROGRAM_OPTION, DECODER, "probe", str(recording), "--max-seconds", "60")

    assert json.loads(decoded.stdout)["sample_rate"] == 16_000, decoded.stderr
    assert decoded.returncode == 0


@pytest.mark.parametrize("program", ["timeit", "core.settings", ""])
def test_no_other_module_runs(executable, program):
    refused = run(executable, PROGRAM_OPTION, program)

    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr == f"{program!r} is no program of this bundle; there are {', '.join(PROGRAMS)}.\n"


def test_the_launcher_becomes_a_program_of_the_system_without_the_libraries_of_the_bundle(executable):
    environment = {"LD_LIBRARY_PATH": "/bundle/_internal", "LD_LIBRARY_PATH_ORIG": "/opt/lib", "_PYI_ARCHIVE_FILE": "x"}

    printed = run(executable, BOUND_OPTION, str(os.getpid()), "env", **environment)

    lines = printed.stdout.splitlines()
    assert "LD_LIBRARY_PATH=/opt/lib" in lines, printed.stderr
    assert not [line for line in lines if line.startswith(("LD_LIBRARY_PATH_ORIG", "_PYI_"))]


def test_the_launcher_runs_the_executable_itself_as_the_same_process(executable):
    program = [str(executable), PROGRAM_OPTION, DECODER, "probe", str(ALLISON / "prompt.wav")]

    decoded = run(executable, BOUND_OPTION, str(os.getpid()), *program, "--max-seconds", "60")

    assert json.loads(decoded.stdout)["channels"] == 1, decoded.stderr


def test_the_launcher_starts_nothing_when_its_parent_is_gone(executable):
    launched = run(executable, BOUND_OPTION, "1", "echo", "started")

    assert (launched.returncode, launched.stdout) == (1, "")


def test_its_help_names_it_as_it_was_called(executable):
    assert run(executable, "queue", "--help").stdout.startswith("usage: gpt-sovits-api queue")


@pytest.mark.slow
def test_the_daemon_speaks_and_reads_recordings_and_leaves_no_process_when_it_is_killed(executable, tmp_path):
    settings = {"HOME": str(tmp_path / "home"), "DATA_PATH": str(tmp_path / "user data"), "API_PORT": "0"}
    log, command = tmp_path / "log", [str(executable), "serve", "--roles", "splitter,synthesizer"]
    with announced_server(command, ENVIRONMENT | settings, log) as server:
        until(lambda: "processes are ready" in log.read_text(), seconds=120)
        with httpx.Client(base_url=server.url, timeout=240) as client:
            speech = client.post("/v1/audio/speech", json={"voice": "allison", "input": "Hello.", "model": "tts-1"})
            with (ALLISON / "prompt.wav").open("rb") as recording:
                upload = client.post("/api/v1/files", files={"file": recording})
        children = children_of(server.process.pid)

    assert speech.status_code == 200, speech.text
    assert upload.json()["sample_rate"] == 16_000
    assert len(children) > 3  # the queue server, the API, workers
    assert [command for command in children.values() if " -m " in command or "main.py" in command] == []
    assert all(wait_for_end(pid, seconds=60) for pid in children)
