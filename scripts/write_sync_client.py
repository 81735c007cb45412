"""Write the client without asyncio, `client/sovitsd_client/sync_client.py`, of the one with it.

.venv/bin/python -m scripts.write_sync_client
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent.parent / "client" / "sovitsd_client"
REPLACEMENTS: Final = (
    (
        r'"""The client for asyncio\..*?"""',
        '"""The client. Written by `scripts/write_sync_client.py` from `async_client.py`."""',
    ),
    (r"import asyncio\n", ""),
    (r"asyncio\.sleep", "time.sleep"),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\bhttpx\.Async", "httpx."),
    (r"for chunk in (self\.response\.)aiter_bytes\(\):\n +yield chunk", r"yield from \1iter_bytes()"),
    (r"__a(enter|exit|iter)__", r"__\1__"),
    (r"\ba(close|read|iter_\w+)\b", r"\1"),
    (r"  # noqa: ASYNC\d+", ""),
)


def sync_client(source: str) -> str:
    """Return the text of the synchronous client; `source` is that of the asynchronous one."""
    for pattern, replacement in REPLACEMENTS:
        source = re.sub(pattern, replacement, source)
    return source


if __name__ == "__main__":
    written = sync_client((FOLDER / "async_client.py").read_text())
    (FOLDER / "sync_client.py").write_text(written)
