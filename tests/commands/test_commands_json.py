"""Every command has `--json`, and what it prints then is JSON and nothing else."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.arguments import build_parser
from common.repository import REPOSITORY

PROMPT = REPOSITORY / "prompts" / "allison" / "prompt.wav"
BASE = REPOSITORY / "GPT_SoVITS" / "base" / "gpt.safetensors"
WITHOUT_JSON = {("serve",), ("api",), ("work",), ("completion",)}
"""Three print a log, whose form LOG_FORMAT=json chooses; the fourth prints a script for a shell."""
LINE_BY_LINE = ("audit", "backup", "registry", "standby")
"""They print an object a line, as it comes; none where there is nothing to say."""
DRIVER = """
import contextlib, io, json, sys
from main import main
for command in json.load(sys.stdin):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main([*command, "--json"])
    print(json.dumps({"command": command, "code": code, "printed": printed.getvalue()}))
"""
COMMANDS = [
    ["keys", "create", "first", "--if-none"],
    ["keys", "create", "second", "--if-none"],
    ["keys", "list"],
    ["keys", "revoke", "first"],
    ["keys", "open"],
    ["voice", "list"],
    ["audit"],
    ["download"],
    ["text", "Hello."],
    ["doctor"],
    ["checkpoint", "inspect", str(BASE)],
    ["checkpoint", "convert", str(BASE), "converted.safetensors"],
    ["detect", str(PROMPT)],
    ["backup", "list", "--from", "backups"],
    ["registry", "show"],
    ["standby", "status"],
    ["standby", "doctor"],
    ["standby", "identity"],
]
"""What can be tried without a server; the others' JSON is tested beside what they do."""


def leaves(parser: argparse.ArgumentParser, *names: str) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Yield every command that has no commands of its own, by its names."""
    choices = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not choices:
        yield names, parser
    for commands in choices:
        for name, command in commands.items():
            yield from leaves(command, *names, name)


def test_every_command_takes_json() -> None:
    commands = {
        names: {option for action in parser._actions for option in action.option_strings}
        for names, parser in leaves(build_parser())
    }

    assert {names for names, options in commands.items() if "--json" not in options} == WITHOUT_JSON
    assert len(commands) > 40


@pytest.mark.slow
def test_commands_print_json_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    environment = {**os.environ, "DATA_PATH": str(tmp_path / "data"), "PYTHONPATH": str(REPOSITORY), "BACKUP_URL": ""}

    ran = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(COMMANDS),
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    results = [json.loads(line) for line in ran.stdout.splitlines()]

    assert [result["command"] for result in results] == COMMANDS, ran.stderr
    for result in results:
        documents = [result["printed"]]
        if result["command"][0] in LINE_BY_LINE:
            documents = result["printed"].splitlines()
        for document in documents:
            assert is_json(document), (result, ran.stderr)


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
