"""In the place of a training program in several processes: each does what its argument says."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def report(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def fail(code: str, message: str) -> None:
    report("error", code=code, message=message, hint="", permanent=False, trace="", at=time.monotonic())
    sys.exit(1)


def wait_for(path: Path) -> None:
    while not path.exists():
        signal.sigtimedwait([], 0.01)


rank, parts = int(os.environ["RANK"]), sys.argv[1].split(",")
folder = Path(sys.argv[2])
match parts[rank]:
    case "out_of_memory":
        report("progress", step=1)
        fail("out_of_memory", "There is no room.")
    case "loses its peer":
        wait_for(folder / "lost")
        fail("training_failed", "Connection closed by peer.")
    case "breaks":
        report("error", code="training_failed", message="It broke.", hint="", permanent=False, trace="", at=1.0)
        (folder / "lost").touch()
        sys.exit(1)
    case "aborts":
        wait_for(folder / "lost")
        os.abort()
    case "prints":
        print("NCCL version 2", flush=True)
        report("progress", step=1)
    case "waits forever":
        report("progress", step=1)
        signal.pause()
    case "is killed":
        (folder / "lost").touch()
        os.kill(os.getpid(), signal.SIGKILL)
