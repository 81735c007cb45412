"""An executable that looks to the product like that of a bundle: Python with `sys.frozen`, which runs `main.py`."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PROGRAM = """#!{python} -I
import sys
sys.path[:0] = {folders!r}
sys.frozen, sys.executable = True, {path!r}
exec(compile(open({main!r}, "rb").read(), {main!r}, "exec"))
"""


def frozen_stand_in(folder: Path) -> Path:
    """Write the executable into a folder and return its path."""
    path = folder / "gpt-sovits-api"
    folders = [str(REPOSITORY), str(REPOSITORY / "client")]
    path.write_text(
        PROGRAM.format(python=sys.executable, folders=folders, path=str(path), main=str(REPOSITORY / "main.py"))
    )
    path.chmod(0o755)
    return path
