"""A program of this folder in two processes that torch connects."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_in_two_processes(program: Path, folder: Path) -> None:
    """Run a program, with the folder as its argument, in two processes of one group."""
    paths = (program.parents[2], program.parents[1], program.parent)
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
            *(str(program), str(folder)),
        ],
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"},
        timeout=200,
    )
