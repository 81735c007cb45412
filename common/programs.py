"""How a program of the product is started: the one place that knows how it was installed.

From a checkout or an installed package, Python runs a module or `main.py`. A bundle (docs/deployment.md) has no Python:
its executable starts itself, with the name of a program from a fixed list, or with the words of a command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from common import parent_death
from common.operating_system import bind_children
from common.repository import REPOSITORY

DECODER: Final = "core.media.decoder_child"
EVALUATION: Final = "GPT_SoVITS.evaluation.program"
LABEL_READER: Final = "core.marks.label_child"
POOL_WORKER: Final = "roles.preprocessing.pool_worker"
SPOKEN_CHECK: Final = "GPT_SoVITS.evaluation.spoken_check"
TORCH_PROBE: Final = "roles.runtime.torch_probe"
TRAINING: Final = "GPT_SoVITS.train"
VOICE_OPENER: Final = "roles.voices.import_child"
PROGRAMS: Final = (
    *(DECODER, EVALUATION, LABEL_READER, POOL_WORKER),
    *(SPOKEN_CHECK, TORCH_PROBE, TRAINING, VOICE_OPENER),
)
"""Modules that run as processes of their own; a bundle starts no other."""

PROGRAM_OPTION: Final = "--program"
BOUND_OPTION: Final = "--bound-to"
"""First arguments by which the executable of a bundle is no command, but one of PROGRAMS, or the launcher."""


def is_frozen() -> bool:
    """Return whether this is the executable of a bundle, in which Python is no program."""
    return bool(getattr(sys, "frozen", False))


def product_command(*arguments: str) -> list[str]:
    """Return the command line that runs a command of `main.py`."""
    return [sys.executable, *([] if is_frozen() else [str(REPOSITORY / "main.py")]), *arguments]


def program_command(program: str, *arguments: str) -> list[str]:
    """Return the command line of one of PROGRAMS; its environment is that of `program_environment`.

    Raises ValueError for another module.
    """
    if program not in PROGRAMS:
        raise ValueError(f"{program!r} is no program of the product; there are {', '.join(PROGRAMS)}")
    if is_frozen():
        return [sys.executable, PROGRAM_OPTION, program, *arguments]
    # -P: no module of the folder in which it is started takes the place of one of ours.
    return [sys.executable, "-P", "-m", program, *arguments]


def program_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with which a program finds its modules, wherever it is started."""
    if is_frozen():
        return dict(environment)
    folders = (str(REPOSITORY), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)))
    return {**environment, "PYTHONPATH": os.pathsep.join(dict.fromkeys(folders))}


def bound_command(command: Sequence[str]) -> list[str]:
    """Return the command behind a small launcher that ties its life to this process (same pid after exec).

    A launcher, because `preexec_fn` can deadlock in a process with threads, and every worker has some.
    """
    if bind_children():
        return list(command)
    if is_frozen():
        return [sys.executable, BOUND_OPTION, str(os.getpid()), *command]
    return [sys.executable, "-I", "-S", os.path.abspath(parent_death.__file__), str(os.getpid()), *command]


def is_own_command(command: Sequence[str]) -> bool:
    """Return whether a command line starts the executable of this bundle again."""
    return command[0] == sys.executable


def same_command() -> list[str]:
    """Return the command line by which this process was started, as one can start it again."""
    return [sys.executable, *sys.argv[1:]] if is_frozen() else [sys.executable, *sys.orig_argv[1:]]
