"""Hints call the program as its user starts it: `main.py` in a checkout, `sovitsd` where it was installed."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from api.app import create_app
from common.program_name import PROGRAM_VARIABLE
from common.repository import REPOSITORY
from core.settings import read_settings

PRODUCT = ("common", "core", "recovery", "supervisor", "roles", "api", "commands", "GPT_SoVITS", "server")


def run(command: list[str], data: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != PROGRAM_VARIABLE}
    return subprocess.run(
        command, env={**inherited, "DATA_PATH": str(data), **environment}, capture_output=True, text=True, check=False
    )


def entry_point(folder: Path) -> Path:
    """Return a program that starts the command line as that of an installed package does."""
    program = folder / "sovitsd"
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom main import main\nsys.exit(main())\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("installed", "environment", "name"),
    [(False, {}, "main.py"), (True, {}, "sovitsd"), (False, {PROGRAM_VARIABLE: "sovitsd"}, "sovitsd")],
)
def test_hints_and_help_have_the_name_that_the_user_typed(
    tmp_path: Path, installed: bool, environment: dict[str, str], name: str
) -> None:
    start = [str(entry_point(tmp_path))] if installed else [sys.executable, str(REPOSITORY / "main.py")]
    environment = {**environment, "PYTHONPATH": str(REPOSITORY), "REDIS_URL": ""}

    unreachable = run([*start, "queue", "dead"], tmp_path / "data", environment)
    listed = run([*start, "download"], tmp_path / "data", environment)
    usage = run([*start, "--help"], tmp_path / "data", environment)

    assert unreachable.returncode == 1
    assert f"Start it with `{name}`, or set REDIS_URL." in unreachable.stderr
    assert f"`{name} download NAME` fetches" in listed.stdout
    assert usage.stdout.split()[:2] == ["usage:", name]


def test_what_a_program_starts_gives_hints_under_its_name(tmp_path: Path) -> None:
    """A child is started by main.py's path or as a module, whatever the user typed."""
    script = (
        "import os, subprocess, sys; from main import main; main(['checkpoint', 'inspect', 'none']);"
        "child = 'from common.program_name import program_name; print(program_name())';"
        "sys.exit(subprocess.run([sys.executable, '-c', child]).returncode)"
    )
    program = tmp_path / "sovitsd"
    program.write_text(f"#!{sys.executable}\n{script}\n")
    program.chmod(0o755)

    assert run([str(program)], tmp_path / "data", {"PYTHONPATH": str(REPOSITORY)}).stdout == "sovitsd\n"


def test_no_sentence_of_the_program_names_the_file_main_py() -> None:
    literal = [
        f"{path.relative_to(REPOSITORY)}:{line}: {text}"
        for package in PRODUCT
        for path in (REPOSITORY / package).rglob("*.py")
        for line, text in strings(ast.parse(path.read_text(encoding="utf-8")))
        if "main.py" in text and text != "main.py"  # the file itself, which is run
    ]

    assert [place for place in literal if not place.startswith("common/program_name.py")] == []


def strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the strings of a module that are no documentation."""
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


def test_the_documentation_of_the_api_and_the_console_do_not_name_main_py(tmp_path: Path) -> None:
    documentation = json.dumps(create_app(read_settings(data_path=tmp_path)).openapi())
    console = [path for path in (REPOSITORY / "api" / "console").rglob("*") if path.suffix in (".js", ".html")]

    assert "main.py" not in documentation
    assert len(console) >= 2
    assert [path for path in console if "main.py" in path.read_text(encoding="utf-8")] == []
