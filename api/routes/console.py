"""The console: a web interface that uses nothing but the API. Sources: `console/`; build: `api/console/`."""

from __future__ import annotations

import asyncio
import gzip
import mimetypes
import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from api.http.access import PUBLIC
from core.errors import NotFound

router = APIRouter(include_in_schema=False, dependencies=[PUBLIC])

BUILD: Final = Path(__file__).resolve().parent.parent / "console"
NONCE_PLACEHOLDER: Final = b"CSP-NONCE"
"""What the build has in place of the nonce of a response."""
_INDEX: Final = "index.html"
_METHODS: Final = ["GET", "HEAD"]
_SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


@dataclass(frozen=True, slots=True)
class BuiltFile:
    """One file of the build, as it is and compressed."""

    content: bytes
    compressed: bytes
    media_type: str


@router.api_route("/console", methods=_METHODS)
async def console_folder() -> Response:
    """Redirect to the folder, in which the names of the page's files are relative."""
    return RedirectResponse("console/", 307)


@router.api_route("/console/", methods=_METHODS)
async def console_page() -> Response:
    """Return the page with a content security policy that allows its own files and one nonce."""
    page = (await asyncio.to_thread(_built_files)).get(_INDEX)
    if page is None:
        raise NotFound("The console was not built.", hint="scripts/console builds it.")
    nonce = secrets.token_urlsafe(18)
    content = page.content.replace(NONCE_PLACEHOLDER, nonce.encode())
    headers = {
        **_SECURITY_HEADERS,
        "Cache-Control": "no-store",
        "Content-Security-Policy": content_security_policy(nonce),
    }
    return Response(content, headers=headers, media_type="text/html; charset=utf-8")


@router.api_route("/console/assets/{filename}", methods=_METHODS)
async def console_file(filename: str, request: Request) -> Response:
    """Return a file of the build. Its name has the hash of its content, so that browsers keep it for good."""
    file = (await asyncio.to_thread(_built_files)).get(f"assets/{filename}")
    if file is None:
        raise NotFound(
            f"The console has no file {filename[:100]!r}.", hint="Reload the page: it may be of an older version."
        )
    headers = {**_SECURITY_HEADERS, "Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.compressed, headers={**headers, "Content-Encoding": "gzip"}, media_type=file.media_type)
    return Response(file.content, headers=headers, media_type=file.media_type)


def content_security_policy(nonce: str) -> str:
    """Return a policy under which a page runs its own scripts only, and talks to this server only.

    The nonce is for style elements of libraries that draw in a shadow tree. Recordings that were fetched with an API
    key are played from `blob:` URLs.
    """
    directives = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": f"'self' 'nonce-{nonce}'",
        "img-src": "'self' data: blob:",
        "media-src": "'self' blob:",
        "connect-src": "'self' blob:",
        "font-src": "'self'",
        "worker-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())


@cache
def _built_files() -> dict[str, BuiltFile]:
    """Read the build; it is small and does not change while the process runs."""
    files = {}
    for path in BUILD.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            if media_type in ("text/javascript", "application/javascript"):
                media_type = "text/javascript; charset=utf-8"
            files[path.relative_to(BUILD).as_posix()] = BuiltFile(content, gzip.compress(content, 9), media_type)
    return files
