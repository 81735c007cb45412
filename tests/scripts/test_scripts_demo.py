"""The demo's report, for people and for programs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from commands.arguments import build_parser
from common.repository import REPOSITORY
from scripts.demo_language import LOCALE_VARIABLES
from scripts.demo_report import show_report, start_command


def test_the_report_ends_with_how_to_serve_the_voice_and_where_it_is() -> None:
    sentence = {"text": "Hello.", "seconds": 1.0, "real_time_factor": 0.2, "heard": "Hello."}
    report = {
        "seconds": 90.0,
        "voice": "my-voice",
        "language": "en",
        "serve": "DATA_PATH=demo/data .venv/bin/python main.py",
        "voice_seconds": 80.2,
        "stage_seconds": {"asr": 1.0},
        "previews": [{"file": "preview-sovits-e0.wav", "epoch": 0, "seconds": 41.6}],
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
    assert "The voice was ready 80 s after the upload." in screen.file.getvalue()
    assert "The first preview, preview-sovits-e0.wav, could be heard 42 s after the upload." in screen.file.getvalue()
    assert last == "The voice my-voice is in demo/data; to serve it: DATA_PATH=demo/data .venv/bin/python main.py"


def test_the_report_of_a_mandarin_demo_counts_characters() -> None:
    sentence = {"text": "你好。", "seconds": 1.0, "real_time_factor": 0.2, "heard": "泥好。"}
    report = {
        "seconds": 90.0,
        "voice": "my-voice",
        "language": "zh",
        "serve": "main.py",
        "voice_seconds": 80.0,
        "stage_seconds": {},
        "previews": [],
        "sentences": [{**sentence, "wer": 0.5, "similarity": 0.9, "dnsmos": 3.0}],
        "mean_wer": 0.5,
        "intelligible": False,
        "idle_rss_mb": {},
        "peak_rss_mb": {},
        "queues": {"dead": 0},
    }
    screen = Console(file=io.StringIO(), width=200)
    show_report(screen, report, Path("demo"))

    assert isinstance(screen.file, io.StringIO)
    shown = screen.file.getvalue()
    assert "CER" in shown
    assert "WER" not in shown
    assert "the character error rate is 50%" in shown


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zh_TW.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "zh_CN:en"}, "zh"),
    ],
)
def test_the_demo_is_in_the_language_of_the_locale_unless_one_is_named(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], language: str
) -> None:
    for name in LOCALE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    other = {"en": "zh", "zh": "en"}[language]
    assert build_parser().parse_args(["demo"]).language == language
    assert build_parser().parse_args(["demo", "--language", other]).language == other


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
