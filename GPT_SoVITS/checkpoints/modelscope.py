"""What ModelScope says of a file: its list of a repository's files, as its own client reads it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

import httpx

MODELSCOPE = "https://modelscope.cn"
REVISION = "master"
SECONDS = 30.0


def is_modelscope(endpoint: str) -> bool:
    """Return whether a mirror's address is ModelScope's."""
    host = urlsplit(endpoint).hostname or ""
    return host == "modelscope.cn" or host.endswith(".modelscope.cn")


def find_file(repository: str, path: str, endpoint: str) -> tuple[str, int, str] | None:
    """Return the address, the size in bytes and the SHA-256 of a file; None where the repository has none of it.

    Raises httpx.HTTPError, and ValueError where the response is not what ModelScope sends.
    """
    listing = f"{endpoint}/api/v1/models/{quote(repository)}/repo/files"
    response = httpx.get(
        listing, params={"Revision": REVISION, "Recursive": "true"}, timeout=SECONDS, follow_redirects=True
    )
    if response.status_code == 404:
        return None
    response.raise_for_status()
    content: Any = response.json()
    try:
        files = content["Data"]["Files"]
        entry = next((file for file in files if file["Path"] == path), None)
        if entry is None:
            return None
        return (
            f"{endpoint}/models/{quote(repository)}/resolve/{REVISION}/{quote(path)}",
            int(entry["Size"]),
            str(entry["Sha256"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError("the response is no list of files, so it is not ModelScope's") from error
