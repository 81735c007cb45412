"""The test page of the model service, served by the daemon and opened from a disk, in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from scripts.demo_daemon import REPOSITORY, Daemon

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

PANELS = ["GPU hardware", "Use of resources", "Start a training", "Start an inference", "Tasks", "Live log"]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Yield a page whose errors fail the test."""
    context = browser.new_context()
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
    yield opened
    context.close()
    assert errors == []


def test_the_served_page_speaks_and_follows_a_log(daemon: Daemon, page: Page) -> None:
    page.goto(f"{daemon.url}/api/v2/test-page")

    expect(page.locator("#state")).to_have_text("reachable, healthy")
    expect(page.locator("section h2")).to_have_text(PANELS)
    expect(page.locator("#gpu")).to_contain_text('"available": false')
    expect(page.locator("#resources")).to_contain_text('"device_usage"')
    devices = page.locator("#training-form select[name=device] option")
    expect(devices).to_have_text(["cuda", "cuda:0", "cuda:1", "cpu"])
    page.get_by_label("cfg_path (voice)").fill("allison")
    page.locator("#inference-form button").click()
    expect(page.locator("#inference")).to_contain_text('"status": "completed"', timeout=180_000)
    expect(page.locator("#audio")).to_be_visible()
    expect(page.locator("#tasks tr").filter(has_text="completed").first).to_be_visible()
    page.get_by_label("or train_path").fill("none.wav")
    page.locator("#training-form button").click()
    expect(page.locator("#training")).to_contain_text("404: train_path is 'none.wav'")


def test_the_page_works_when_it_is_opened_from_a_disk(daemon: Daemon, page: Page) -> None:
    page.goto((REPOSITORY / "docs" / "clients" / "test_web_ui.html").as_uri())

    expect(page.locator("#base")).to_have_value("http://127.0.0.1:9880")
    page.locator("#base").fill(daemon.url)
    page.locator("#base").press("Tab")

    expect(page.locator("#state")).to_have_text("reachable, healthy")
    expect(page.locator("#gpu")).to_contain_text('"available": false')
    page.locator("#resources-refresh").click()
    expect(page.locator("#resources")).to_contain_text(re.compile('"limits": {\\s+"cpu"'))
