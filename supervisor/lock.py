"""One supervisor for each data folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.operating_system import lock_file
from core.errors import Conflict


@contextmanager
def exclusive_lock(lock: Path) -> Iterator[None]:
    """Hold the lock of a data folder; raise Conflict when another supervisor holds it.

    The kernel releases the lock when its holder dies.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        try:
            lock_file(file, wait=False)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip()
            raise Conflict(
                f"The data folder {lock.parent.parent} is in use by another sovitsd (process {owner}).",
                hint="Stop that one, or set DATA_PATH to another folder.",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
