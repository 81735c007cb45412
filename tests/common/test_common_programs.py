"""Command lines that start programs of the product."""

from __future__ import annotations

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from common.programs import DECODER, PROGRAMS, product_command, program_command, program_environment

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_of_the_list_is_a_module_that_runs(program):
    specification = find_spec(program)

    assert specification is not None
    assert specification.origin is not None
    assert 'if __name__ == "__main__":' in Path(specification.origin).read_text()


def test_a_module_that_is_not_in_the_list_has_no_command_line():
    with pytest.raises(ValueError, match=r"'timeit' is no program of the product; there are core\.media"):
        program_command("timeit")


def test_a_program_finds_its_modules_and_none_of_the_folder_it_is_started_in(tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong module')\n")
    environment = program_environment({"PATH": os.environ["PATH"], "PYTHONPATH": "/elsewhere"})

    helped = subprocess.run(
        program_command(DECODER, "--help"), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert helped.returncode == 0, helped.stderr
    assert environment["PYTHONPATH"] == f"{REPOSITORY}:/elsewhere"
    assert program_environment(environment) == environment


def test_a_command_runs_from_any_folder(tmp_path):
    version = subprocess.run(product_command("--version"), cwd=tmp_path, capture_output=True, text=True, check=False)

    assert version.stdout.startswith("sovitsd "), version.stderr
