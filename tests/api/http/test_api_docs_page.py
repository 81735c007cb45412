"""The API documentation page at /docs."""

from __future__ import annotations

import re

import httpx

from api.http.docs_page import render


async def test_the_reference_names_every_route_and_needs_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    response = await client.get("/docs")
    page, schema = response.text, (await client.get("/openapi.json")).json()

    assert all(path in page for path in schema["paths"])
    assert "options.quality" in page
    assert not re.search(r"""<(img|iframe|base)\b|(src|href)=["']?(\w+:|//|/)|url\(|@import""", page)
    assert render(schema) == page
    assert "default-src 'none'; script-src 'self';" in response.headers["content-security-policy"]


async def test_every_file_of_the_page_comes_from_this_server_and_asks_for_no_other(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    files = re.findall(r'<(?:script|link)[^>]* (?:src|href)="([^"]+)"', page)

    assert [name.rsplit("/", 1)[1] for name in files] == ["swagger-ui.css", "swagger-ui-bundle.js", "explorer.js"]
    for name in files:
        response = await client.get(f"/{name}")
        assert response.status_code == 200
        assert response.headers["content-type"].split(";")[0] == ("text/css" if "css" in name else "text/javascript")
        assert not re.search(r"url\([\"']?(https?:)?//|@import|importScripts\(", response.text)


async def test_a_file_that_the_page_does_not_have_is_not_found(client: httpx.AsyncClient) -> None:
    response = await client.get("/docs/assets/..%2fdocs_page.py")

    assert response.status_code == 404
