"""Print the address of the service once it answers; exit with 1 while it does not."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from commands.server import api_url
from core.settings import settings


def main() -> int:
    """Ask for /health."""
    url = api_url(settings())
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as response:  # noqa: S310  # our own address
            healthy = response.status == 200
    except (urllib.error.URLError, OSError):
        return 1
    if healthy:
        print(url)
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())
