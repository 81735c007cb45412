"""Remove temporary files of a service that has stopped."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.errors import Conflict
from core.host_control import supervisor_lock
from core.settings import settings
from supervisor.lock import exclusive_lock


def main() -> int:
    """Remove what only a running service needs; with one that runs, nothing."""
    current = settings()
    data = current.data_path
    if not data.is_dir():
        return 0
    try:
        with exclusive_lock(supervisor_lock(data)):
            for folder in (current.storage_root / ".tmp", data / "run"):
                shutil.rmtree(folder, ignore_errors=True)
    except Conflict as error:
        print(f"Nothing was removed: {error.message}", file=sys.stderr)
        return 1
    print(f"Temporary files below {data} are removed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
