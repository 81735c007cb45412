"""`main.py completion SHELL`: the script by which a shell completes commands, options, choices and files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

import shtab

from common.program_name import INSTALLED

_FILES: Final = ("FILE", "RECORDING", "IN", "OUT")
_FOLDERS: Final = ("FOLDER", "EMPTY", "TARGET")
"""What the help calls arguments that are files and folders."""


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script for a shell.

    It is for the command `sovitsd`, which a checkout has in `.venv/bin`: of `python main.py`, shells complete `python`.
    """
    parser.prog = INSTALLED
    for action in _all_actions(parser):
        if action.metavar in (*_FILES, *_FOLDERS):
            action.complete = shtab.FILE if action.metavar in _FILES else shtab.DIRECTORY  # type: ignore[attr-defined]
    script: str = shtab.complete(parser, shell=shell)
    return script


def _all_actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _all_actions(command)
