"""The test page of the model service: one HTML file, which also works when it is opened from a disk."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Response

from api.http.access import PUBLIC

router = APIRouter(include_in_schema=False, dependencies=[PUBLIC])

PAGE: Final = Path(__file__).with_name("test_page.html")
_INLINE: Final = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


@router.get("/api/v2/test-page")
async def test_page() -> Response:
    """Return the page; its policy allows its own script and requests to any address that a user types."""
    headers = {
        "Content-Security-Policy": _policy(),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return Response(PAGE.read_bytes(), headers=headers, media_type="text/html; charset=utf-8")


@cache
def _policy() -> str:
    sources = {"script": "", "style": ""}
    for kind, content in _INLINE.findall(PAGE.read_bytes()):
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        sources[kind.decode()] += f" 'sha256-{digest}'"
    return (
        f"default-src 'none'; script-src{sources['script']}; style-src{sources['style']}; connect-src *; "
        "media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
