"""The demo's report, for people and for programs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from common.repository import REPOSITORY
from scripts.demo_report import show_report, start_command


def test_the_report_ends_with_how_to_serve_the_voice_and_where_it_is() -> None:
    sentence = {"text": "Hello.", "seconds": 1.0, "real_time_factor": 0.2, "heard": "Hello."}
    report = {
        "seconds": 90.0,
        "voice": "my-voice",
        "serve": "DATA_PATH=demo/data .venv/bin/python main.py",
        "stage_seconds": {"asr": 1.0},
        "sentences": [{**sentence, "wer": 0.0, "similarity": 0.9, "dnsmos": 3.0}],
        "mean_wer": 0.0,
        "intelligible": True,
        "idle_rss_mb": {},
        "peak_rss_mb": {"api": 100.0},
        "queues": {"dead": 0},
    }
    screen = Console(file=io.StringIO(), width=200)
    show_report(screen, report, Path("demo"))

    assert isinstance(screen.file, io.StringIO)
    *_, last = screen.file.getvalue().splitlines()
    assert last == "The voice my-voice is in demo/data; to serve it: DATA_PATH=demo/data .venv/bin/python main.py"


def test_what_serves_the_voice_can_be_typed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOVITSD_PROGRAM", raising=False)
    monkeypatch.setattr(sys, "argv", ["main.py", "demo"])
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(sys, "executable", str(REPOSITORY / ".venv" / "bin" / "python"))

    assert start_command() == ".venv/bin/python main.py"
    assert subprocess.run([*start_command().split(), "--version"], check=False).returncode == 0


def test_with_json_a_demo_that_fails_says_why_on_standard_error_alone(tmp_path: Path) -> None:
    failed = subprocess.run(
        [sys.executable, str(REPOSITORY / "main.py"), "demo", "--json", "--output", str(tmp_path / "demo")],
        env={**os.environ, "NUM_MODELS": "many"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "NUM_MODELS is 'many'" in failed.stderr
