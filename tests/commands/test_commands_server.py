"""The commands that speak to a server, in a shell: here, elsewhere by --url, for people and for programs."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import soundfile

from commands.tasks import preview_line
from scripts.demo_daemon import REPOSITORY, Daemon

pytestmark = pytest.mark.slow
RECORDING = REPOSITORY / "prompts" / "allison" / "prompt.wav"
KEY = "key-of-the-test"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    with Daemon(folder / "data", folder / "daemon.log", {"VALID_API_KEYS": KEY, "SPEECH_RETRIES": "0"}) as running:
        yield running


@pytest.fixture
def elsewhere(tmp_path: Path, daemon: Daemon) -> dict[str, str]:
    """Return the environment of a machine that knows the server by its address only."""
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return environment | {"DATA_PATH": str(tmp_path / "none"), "SOVITSD_URL": daemon.url, "SOVITSD_API_KEY": KEY}


def run(environment: dict[str, str], *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "main.py"), *arguments],
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_a_voice_is_found_and_speaks_on_another_machine(elsewhere, tmp_path):
    voices = run(elsewhere, "voices", "--json")
    plain = run(elsewhere, "voices")
    voice = json.loads(voices.stdout)[0]

    spoken = run(
        elsewhere,
        "speak",
        "--stdin",
        "--voice",
        voice["name"],
        "--seed",
        "7",
        "--language",
        "en",
        "--output",
        str(tmp_path / "a.wav"),
        "--json",
        text="One two three.\n",
    )
    again = run(
        elsewhere,
        "speak",
        "One two three.",
        "--voice",
        voice["id"],
        "--seed",
        "7",
        "--language",
        "en",
        "--output",
        str(tmp_path / "b.wav"),
    )

    mandarin = run(elsewhere, "speak", "你好。", "--voice", "xiaoyi", "--output", str(tmp_path / "c.wav"))

    assert [line.split()[1:] for line in plain.stdout.splitlines()] == [
        ["nano", "en", "allison"],
        ["nano", "zh", "xiaoyi"],
        ["nano", "zh", "yunjian"],
    ]
    assert plain.stdout.split()[0] == voice["id"]
    assert mandarin.stdout.startswith(f"{tmp_path}/c.wav (")
    assert soundfile.info(tmp_path / "c.wav").duration > 0.3
    assert json.loads(spoken.stdout) == {
        "output": str(tmp_path / "a.wav"),
        "bytes": (tmp_path / "a.wav").stat().st_size,
    }
    assert again.stdout.startswith(f"{tmp_path}/b.wav (")
    first, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    second, _ = soundfile.read(tmp_path / "b.wav", dtype="int16")
    assert len(first) > 8000
    assert (first == second).all()
    assert not (tmp_path / "none").exists()


def test_speech_is_played_by_the_player_that_is_installed(elsewhere, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    player = programs / "aplay"
    player.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n/bin/cat > {tmp_path}/samples\n')
    player.chmod(0o755)
    command = ("speak", "One two three.", "--voice", "allison", "--play")

    played = run(elsewhere | {"PATH": f"{programs}:/nowhere"}, *command)
    silent = run(elsewhere | {"PATH": "/nowhere"}, *command)

    assert played.returncode == 0, played.stderr
    assert (tmp_path / "arguments").read_text() == "-q -t raw -f S16_LE -c 1 -r 24000 -\n"
    assert (tmp_path / "samples").stat().st_size > 24_000
    assert not (Path.cwd() / "speech.wav").exists()
    assert "No program that plays audio is installed (pacat, aplay, play, ffplay)." in silent.stderr
    assert silent.returncode == 1


def test_a_training_is_started_listed_watched_and_cancelled(elsewhere):
    started = run(
        elsewhere,
        "train",
        str(RECORDING),
        "--name",
        "Anna",
        "--language",
        "en",
        "--version",
        "nano",
        "--quality",
        "fast",
        "--no-wait",
        "--json",
    )
    task = json.loads(started.stdout)
    listed = json.loads(run(elsewhere, "tasks", "--json").stdout)
    cancelled = run(elsewhere, "cancel", task["id"])
    watched = run(elsewhere, "watch", task["id"], "--json")
    lines = [json.loads(line) for line in watched.stdout.splitlines()]
    plain = run(elsewhere, "tasks", "--status", "cancelled")

    assert task["exp_name"] == "Anna"
    assert [item["id"] for item in listed] == [task["id"]]
    assert cancelled.stdout == f"{task['id']} is cancelled.\n"
    assert watched.returncode == 1
    assert [line["event"] for line in lines][-2:] == ["cancelled", "task"]
    assert lines[-1]["status"] == "cancelled"
    assert plain.stdout.split()[:2] == [task["id"], "cancelled"]


@pytest.mark.parametrize(("epoch", "voice"), [(0, "The voice before the training"), (4, "The voice after epoch 4")])
def test_a_voice_in_training_is_printed_with_where_it_can_be_heard(epoch, voice):
    sample = f"experiments/exp-1/sovits_1/samples/e{epoch}.wav"

    line = preview_line("http://here:8000", {"stage": "sovits_train", "epoch": epoch, "sample": sample})

    assert line == f"{voice}: http://here:8000/api/v1/experiments/exp-1/stages/sovits_train/artefacts/e{epoch}.wav"


def test_a_recording_that_cannot_be_trained_on_says_why_and_ends_with_1(elsewhere, tmp_path):
    soundfile.write(tmp_path / "silence.wav", [0.0] * 64_000, 16_000)

    answer = run(elsewhere, "train", str(tmp_path / "silence.wav"), "--name", "Nobody", "--version", "nano")

    assert answer.returncode == 1
    assert answer.stderr.startswith("The API refused (400): Nothing can be heard in the 4.0 s of the recording.")
    assert answer.stderr.count("\n") == 1


def test_uploads_print_the_ids_of_files(elsewhere, daemon):
    answer = run(elsewhere, "upload", str(RECORDING), "--json")
    missing = run(elsewhere, "upload", "nothing.wav")

    file = json.loads(answer.stdout)
    with httpx.Client(base_url=daemon.url, headers={"X-API-Key": KEY}) as client:
        assert client.get(f"/api/v1/files/{file['id']}/metadata").json()["filename"] == "prompt.wav"
    assert (missing.returncode, missing.stderr) == (1, "There is no file nothing.wav.\n")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"SOVITSD_API_KEY": "wrong"}, "The API refused (401): "),
        ({"SOVITSD_URL": "http://127.0.0.1:9"}, "http://127.0.0.1:9/api/v1/voices does not answer"),
        ({"SOVITSD_URL": "voice.example"}, "voice.example is no address of a server."),
    ],
)
def test_a_server_that_rejects_or_is_not_there_is_one_sentence(elsewhere, change, sentence):
    answer = run(elsewhere | change, "voices")

    assert answer.returncode == 1
    assert answer.stderr.startswith(sentence)
    assert answer.stderr.count("\n") == 1


def test_on_the_servers_own_machine_nothing_need_be_named(daemon, tmp_path):
    environment = {"PATH": os.environ["PATH"], "DATA_PATH": str(daemon.data), "VALID_API_KEYS": KEY}

    assert json.loads(run(environment, "voices", "--json").stdout)[0]["name"] == "allison"
    assert json.loads(run(environment, "queue", "list", "--json").stdout)["queues"]["dead"] == 0
    assert json.loads(run(environment, "voice", "list", "--json").stdout)[0]["name"] == "allison"
    assert json.loads(run(environment, "doctor", "--json").stdout)["healthy"] is True


def in_terminal(environment: dict[str, str], *arguments: str) -> str:
    """Return what a command shows in a terminal."""
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, str(REPOSITORY / "main.py"), *arguments], env=environment, stdout=child, stderr=child
    ) as process:
        os.close(child)
        output = b""
        while True:
            try:
                data = os.read(parent, 4096)
            except OSError:  # nobody has the other end any more
                break
            if not data:
                break
            output += data
        process.wait(timeout=60)
    os.close(parent)
    return output.decode()


def test_a_terminal_gets_headings_in_colour_unless_it_wants_none(elsewhere):
    terminal = elsewhere | {"TERM": "xterm-256color"}

    colored = in_terminal(terminal, "voices")
    plain = in_terminal(terminal | {"NO_COLOR": "1"}, "voices")

    assert re.search("\x1b\\[1mid +version +language +name\x1b\\[0m", colored)
    assert plain.split()[:4] == ["id", "version", "language", "name"]
    assert "\x1b" not in plain
    assert "\x1b[1mcommands\x1b[0m" in in_terminal(terminal, "--help")
