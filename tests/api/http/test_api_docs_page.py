"""The API documentation page at /docs."""

from __future__ import annotations

import re

import httpx

from api.http.docs_page import render


async def test_the_reference_names_every_route_and_needs_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    schema = (await client.get("/openapi.json")).json()

    assert all(path in page for path in schema["paths"])
    assert "options.quality" in page
    assert not re.search(r"""<(script|link|img|iframe|base)\b|(src|href)=["']?(\w+:|//)|url\(|@import""", page)
    assert render(schema) == page
