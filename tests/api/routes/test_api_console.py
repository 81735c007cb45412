"""How the console is served: to browsers, with a strict policy; they keep what has the hash of its content."""

from __future__ import annotations

import gzip
import re

import httpx
import pytest

from api.routes.console import BUILD


async def test_a_browser_that_opens_the_root_is_led_to_the_console(client: httpx.AsyncClient) -> None:
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    root = await client.get("/", headers={"Accept": accept})
    page = await client.get("/", headers={"Accept": accept}, follow_redirects=True)

    assert (root.status_code, root.headers["location"]) == (307, "console/")
    assert "Accept" in root.headers["vary"]
    assert str(page.url) == "http://localhost/console/"
    assert page.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
async def test_programs_still_get_json_from_the_root(client: httpx.AsyncClient, accept: str) -> None:
    root = await client.get("/", headers={"Accept": accept})

    assert root.status_code == 200
    assert root.json()["status"] == "未就绪"  # no worker is running


async def test_the_console_without_a_slash_leads_to_its_folder_whatever_the_prefix_of_a_proxy(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/console")

    assert (answer.status_code, answer.headers["location"]) == (307, "console/")


async def test_the_page_allows_its_own_files_and_a_nonce_of_this_response_only(client: httpx.AsyncClient) -> None:
    pages = [await client.get("/console/") for _ in range(2)]
    policies = [page.headers["content-security-policy"] for page in pages]
    nonces = [re.findall(r"'nonce-([\w-]{20,})'", policy) for policy in policies]

    assert nonces[0] != nonces[1]
    for page, policy, [nonce] in zip(pages, policies, nonces, strict=True):
        directives = dict(part.split(" ", 1) for part in policy.split("; "))
        assert directives["default-src"] == directives["frame-ancestors"] == directives["base-uri"] == "'none'"
        assert directives["script-src"] == "'self'"
        assert "unsafe" not in policy
        assert f'nonce="{nonce}"' in page.text
        assert "CSP-NONCE" not in page.text
        assert page.headers["cache-control"] == "no-store"


async def test_the_page_says_how_an_administrator_calls_the_program(client: httpx.AsyncClient) -> None:
    page = await client.get("/console/")

    assert '<meta name="program" content="main.py" />' in page.text


async def test_the_page_loads_nothing_from_elsewhere_and_its_files_are_kept_for_good(client: httpx.AsyncClient) -> None:
    page = await client.get("/console/")
    references = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    files = [reference for reference in references if not reference.startswith("data:")]

    assert len(files) >= 2
    for name in files:
        assert re.fullmatch(r"\./assets/[\w-]+-[\w-]{8}\.(js|css)", name), name
        answer = await client.get(f"/console/{name}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-encoding"] == "gzip"
        plain = await client.get(f"/console/{name}", headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.content == answer.content


async def test_the_console_is_small(client: httpx.AsyncClient) -> None:
    total = sum(len(gzip.compress(path.read_bytes(), 9)) for path in BUILD.rglob("*") if path.is_file())

    assert 0 < total <= 150 * 1024


@pytest.mark.parametrize(
    "path", ["assets/missing.js", "index.html", "../app.py", "%2e%2e/app.py", "assets/../../app.py"]
)
async def test_nothing_but_the_files_of_the_build_is_served(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/console/{path}")

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"
