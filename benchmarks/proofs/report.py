"""What every proof ends with: its figures, the commit and the date, as JSON in `docs/proofs/`."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = REPOSITORY / "docs" / "proofs"


def write_proof(name: str, figures: Mapping[str, object], *, passed: bool) -> int:
    """Write `docs/proofs/<name>.json`, print it, and return the exit code."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    document = {
        "proof": name,
        "passed": passed,
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": platform.machine(),
        "python": platform.python_version(),
        **figures,
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=2)
    (FOLDER / f"{name}.json").write_text(text + "\n")
    print(text, file=sys.stdout)
    return 0 if passed else 1
