"""The command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.records import upgrade
from core.settings import read_settings

MAIN = Path(__file__).resolve().parents[2] / "main.py"


def run_main(*arguments: str, options: tuple[str, ...] = (), **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, str(MAIN), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **settings},
    )


@pytest.mark.parametrize("arguments", [("--help",), ("work", "--help"), ("queue", "--help")])
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]):
    answer = run_main(*arguments, options=("-X", "importtime"))

    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in answer.stderr.splitlines()}
    assert answer.returncode == 0
    assert "argparse" in loaded
    assert not loaded & {"torch", "fastapi", "sqlalchemy", "redis", "pydantic", "numpy"}


def test_help_keeps_what_is_only_for_tests_to_itself():
    answer = run_main("work", "--help")

    assert "--device" in answer.stdout
    assert "--role-class" not in answer.stdout


def test_a_bad_setting_stops_the_start_with_one_sentence():
    answer = run_main("serve", NUM_MODELS="many")

    assert answer.returncode == 2
    assert re.fullmatch(r"Settings that cannot be used: NUM_MODELS is 'many': [^\n]*\n", answer.stderr)
    assert answer.stdout == ""


def test_an_unknown_command_names_the_known_ones():
    answer = run_main("fly")

    assert answer.returncode == 2
    assert "serve" in answer.stderr


def test_an_unknown_role_names_the_known_ones(tmp_path: Path):
    answer = run_main("serve", "--roles", "splitter,singer", DATA_PATH=str(tmp_path))

    assert answer.returncode == 1
    assert (
        answer.stderr == "No role is named 'singer'; there are splitter, synthesizer, preprocessor, trainer, files.\n"
    )


def test_a_data_folder_without_a_daemon_is_named(tmp_path: Path):
    answer = run_main("queue", "list", DATA_PATH=str(tmp_path), REDIS_URL="")

    assert answer.returncode == 1
    assert answer.stderr.startswith(f"No daemon runs on {tmp_path}. Start it with")


def test_a_queue_that_does_not_answer_is_said_to_be_away(tmp_path: Path):
    answer = run_main("queue", "list", DATA_PATH=str(tmp_path), REDIS_URL="redis://127.0.0.1:1")

    assert answer.returncode == 1
    assert answer.stderr.startswith("The queue does not answer: ")
    assert answer.stderr.endswith("Is the daemon running?\n")


def test_a_key_is_made_shown_once_listed_and_revoked(tmp_path: Path):
    created = run_main("keys", "create", "studio", DATA_PATH=str(tmp_path))
    key = created.stdout.strip()

    listed = run_main("keys", "list", DATA_PATH=str(tmp_path))
    revoked = run_main("keys", "revoke", "studio", DATA_PATH=str(tmp_path))
    again = run_main("keys", "revoke", "studio", DATA_PATH=str(tmp_path))
    not_first = run_main("keys", "create", "admin", "--if-none", DATA_PATH=str(tmp_path))

    assert key.startswith("sk-")
    assert (not_first.returncode, not_first.stdout) == (0, "")
    assert "studio" in listed.stdout
    assert key not in listed.stdout
    assert revoked.stdout == "Revoked 1 key.\n"
    assert again.returncode == 1
    assert "No valid key" in again.stderr


def test_a_key_has_scopes_an_owner_an_expiry_and_quotas(tmp_path: Path):
    def keys(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_main("keys", *arguments, DATA_PATH=str(tmp_path))

    options = ("--scopes", "speak,read", "--owner", "lab", "--expires", "30d", "--quota-requests", "5")
    created = keys("create", "kiosk", *options)
    admin = keys("create", "root", "--admin")
    listed = keys("list").stdout.splitlines()
    wrong = [
        keys("create", "x", *option).stderr
        for option in (("--scopes", "fly"), ("--expires", "soon"), ("--expires", "2001-01-01"), ("--quota-jobs", "0"))
    ]

    assert created.returncode == 0
    assert "read, speak; its owner: lab" in created.stderr
    assert admin.stdout.startswith("sk-")
    assert "(lab: read,speak)  until " in listed[0]
    assert "admin   root" in listed[1]
    assert "there are speak, train, read, admin" in wrong[0]
    assert "Give a time from now (30d" in wrong[1]
    assert "has passed" in wrong[2]
    assert "above 0" in wrong[3]


def test_a_server_without_valid_keys_is_opened_again_on_purpose(tmp_path: Path):
    def keys(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_main("keys", *arguments, DATA_PATH=str(tmp_path))

    keys("create", "only")
    in_use = keys("open", "--yes")
    revoked = keys("revoke", "only")
    advice = keys("open")
    opened = keys("open", "--yes")

    assert in_use.returncode == 1
    assert "only" in in_use.stderr
    assert "main.py keys open" in revoked.stderr
    assert "main.py keys open --yes" in advice.stdout
    assert "forgotten" in opened.stdout
    assert keys("list").stdout == ""


def test_the_doctor_shows_devices_plan_versions_and_data(tmp_path: Path):
    answer = run_main("doctor", DATA_PATH=str(tmp_path), options=("-X", "importtime"))

    for title in ("Devices", "Plan", "Versions", "Data", "Missing"):
        assert re.search(rf"^{title}$", answer.stdout, re.MULTILINE)
    assert re.search(r"Worker-(CPU|GPU\d+)-0 +synthesizer", answer.stdout)
    assert str(tmp_path) in answer.stdout
    assert "| torch\n" not in answer.stderr


@pytest.mark.parametrize("command", [("serve",), ("api",)])
def test_an_open_address_without_a_key_stops_the_start_with_lines_to_paste(command: tuple[str, ...], tmp_path: Path):
    upgrade(read_settings(data_path=tmp_path).resolved_database_url)

    completed = run_main(*command, HOST="0.0.0.0", PORT="0", DATA_PATH=str(tmp_path), REDIS_URL="redis://127.0.0.1:1")

    assert completed.returncode == 1
    assert "HOST=0.0.0.0 lets other machines reach the API" in completed.stderr
    assert re.search(r"^VALID_API_KEYS=sk-\S{40,}$", completed.stderr, re.MULTILINE)
    assert re.search(r"^ALLOW_OPEN_ACCESS=true$", completed.stderr, re.MULTILINE)
