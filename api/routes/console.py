"""The console: a web interface that uses nothing but the API. Sources: `console/`; build: `api/console/`."""

from __future__ import annotations

import secrets
from html import escape
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from api.http.access import PUBLIC
from api.http.built_files import find_file
from common.program_name import program_name
from core.errors import NotFound

router = APIRouter(include_in_schema=False, dependencies=[PUBLIC])

BUILD: Final = Path(__file__).resolve().parent.parent / "console"
NONCE_PLACEHOLDER: Final = b"CSP-NONCE"
"""What the build has in place of the nonce of a response."""
PROGRAM_PLACEHOLDER: Final = b"PROGRAM-NAME"
"""What the build has in place of the name of the program, as hints call it."""
_INDEX: Final = "index.html"
_METHODS: Final = ["GET", "HEAD"]
_SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


@router.api_route("/console", methods=_METHODS)
async def console_folder() -> Response:
    """Redirect to the folder, in which the names of the page's files are relative."""
    return RedirectResponse("console/", 307)


@router.api_route("/console/", methods=_METHODS)
async def console_page() -> Response:
    """Return the page with a content security policy that allows its own files and one nonce."""
    page = await find_file(BUILD, _INDEX)
    if page is None:
        raise NotFound("The console was not built.", hint="scripts/console builds it.")
    nonce = secrets.token_urlsafe(18)
    content = page.content.replace(NONCE_PLACEHOLDER, nonce.encode())
    content = content.replace(PROGRAM_PLACEHOLDER, escape(program_name()).encode())
    headers = {
        **_SECURITY_HEADERS,
        "Cache-Control": "no-store",
        "Content-Security-Policy": content_security_policy(nonce),
    }
    return Response(content, headers=headers, media_type="text/html; charset=utf-8")


@router.api_route("/console/assets/{filename}", methods=_METHODS)
async def console_file(filename: str, request: Request) -> Response:
    """Return a file of the build. Its name has the hash of its content, so that browsers keep it for good."""
    file = await find_file(BUILD, f"assets/{filename}")
    if file is None:
        raise NotFound(
            f"The console has no file {filename[:100]!r}.", hint="Reload the page: it may be of an older version."
        )
    return file.response(request, {**_SECURITY_HEADERS, "Cache-Control": "public, max-age=31536000, immutable"})


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
