"""The API documentation in a browser: requests are sent from the page, with a key and without another server."""

from __future__ import annotations

import pytest
from browser_world import ConsolePage
from playwright.sync_api import Browser, expect

from scripts.demo_daemon import Daemon

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_request_is_sent_from_the_page(daemon: Daemon, browser: Browser) -> None:
    tab = ConsolePage(browser, daemon.url)
    requests: list[str] = []
    tab.page.on("request", lambda request: requests.append(request.url))
    tab.page.goto(f"{daemon.url}/docs")

    tab.page.locator(".opblock-tag", has_text="Voices").click()
    operation = tab.page.locator(".opblock").filter(has=tab.page.locator('[data-path="/api/v1/voices/{voice}"]')).first
    operation.locator(".opblock-summary-control").click()
    expect(operation.locator(".responses-inner")).to_contain_text("The API key is missing or unknown.")
    operation.get_by_role("button", name="Try it out").click()
    operation.locator("tr[data-param-name=voice] input").fill("allison")
    operation.get_by_role("button", name="Execute").click()

    expect(operation.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
    expect(operation.locator(".live-responses-table tbody .response-col_description").first).to_contain_text(
        '"allison"'
    )
    expect(tab.page.locator("#reference")).to_be_hidden()
    tab.page.get_by_role("button", name="Authorize").first.click()
    expect(tab.page.locator(".modal-ux")).to_contain_text("X-API-Key")
    assert [url for url in requests if not url.startswith((daemon.url, "data:", "blob:"))] == []
    assert (tab.faults, tab.violations()) == ([], [])
    tab.close()
