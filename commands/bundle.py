"""What the executable of a bundle does before it is a command: the part of an interpreter that the product needs."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys

from common.parent_death import become, die_with_parent
from common.programs import BOUND_OPTION, PROGRAM_OPTION, PROGRAMS, is_own_command

_BOOTLOADER_PREFIX = "_PYI_"
"""Of the variables by which PyInstaller's executable recognizes a child of itself, and saves preparing it."""
_LIBRARY_PATHS = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LIBPATH")


def start_in_bundle() -> None:
    """Run the program that the arguments name, and end; return where they are those of a command."""
    multiprocessing.freeze_support()
    restore_environment()
    if sys.argv[1:2] == [BOUND_OPTION]:
        die_with_parent(int(sys.argv[2]))
        command = sys.argv[3:]
        if not is_own_command(command):
            become(command)
        sys.argv[1:] = command[1:]  # it is this program already
    if sys.argv[1:2] == [PROGRAM_OPTION]:
        program = sys.argv[2] if len(sys.argv) > 2 else ""
        if program not in PROGRAMS:
            sys.exit(f"{program!r} is no program of this bundle; there are {', '.join(PROGRAMS)}.")
        sys.argv[:] = [program, *sys.argv[3:]]
        runpy.run_module(program, run_name="__main__", alter_sys=True)
        sys.exit()


def restore_environment() -> None:
    """Give children the environment that this program was started with.

    Its own libraries are none for a program of the system, and each child that is this program again finds them itself.
    """
    for name in _LIBRARY_PATHS:
        original = os.environ.pop(f"{name}_ORIG", None)
        if original is not None:
            os.environ[name] = original
        elif os.environ.get(name, "").split(os.pathsep)[0] == getattr(sys, "_MEIPASS", None):
            del os.environ[name]
    for name in [name for name in os.environ if name.startswith(_BOOTLOADER_PREFIX)]:
        del os.environ[name]
