"""The processes that a process started."""

from __future__ import annotations

from pathlib import Path


def children_of(parent: int) -> dict[int, str]:
    """Pid → command line of the processes that `parent` started."""
    command_lines = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                command_lines[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return command_lines
