"""Files that come with the server and never change while it runs: read once, compressed where clients understand it."""

from __future__ import annotations

import asyncio
import gzip
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import Request, Response


@dataclass(frozen=True, slots=True)
class BuiltFile:
    """A file as it is and compressed."""

    content: bytes
    compressed: bytes
    media_type: str

    def response(self, request: Request, headers: Mapping[str, str]) -> Response:
        """Return the response with the file."""
        headers = {**headers, "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(
                self.compressed, headers={**headers, "Content-Encoding": "gzip"}, media_type=self.media_type
            )
        return Response(self.content, headers=headers, media_type=self.media_type)


async def find_file(folder: Path, name: str) -> BuiltFile | None:
    """Return a file by its path in the folder; None when there is none."""
    return (await asyncio.to_thread(_read_files, folder)).get(name)


@cache
def _read_files(folder: Path) -> dict[str, BuiltFile]:
    files = {}
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            if media_type in ("text/javascript", "application/javascript"):
                media_type = "text/javascript; charset=utf-8"
            files[path.relative_to(folder).as_posix()] = BuiltFile(content, gzip.compress(content, 9), media_type)
    return files
