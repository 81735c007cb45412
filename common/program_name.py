"""How a user starts this program: what hints and help call it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from common.programs import is_frozen, product_command
from common.repository import REPOSITORY

PROGRAM_VARIABLE: Final = "SOVITSD_PROGRAM"
"""In the environment of what the program starts, and of containers: the name that the user knows."""
INSTALLED: Final = "sovitsd"


def program_name() -> str:
    """Return how the user starts this program: `main.py` in a checkout, `sovitsd` where it was installed.

    A bundle has the name of its executable. Children have the name of the program that started them.
    """
    if name := os.environ.get(PROGRAM_VARIABLE):
        return name
    if is_frozen():
        return Path(product_command()[0]).stem
    is_checkout = (REPOSITORY / "pyproject.toml").is_file()
    return "main.py" if is_checkout and Path(sys.argv[0]).stem != INSTALLED else INSTALLED


def pass_on_program_name() -> None:
    """Let what this process starts give hints under the same name, however it is started."""
    os.environ[PROGRAM_VARIABLE] = program_name()
