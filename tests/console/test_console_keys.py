"""API keys in the browser: the first one, what one may not do, sign-in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser_world import OpenConsole
from playwright.sync_api import expect

from scripts.demo_daemon import Daemon

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Yield a daemon of its own: from the first key on, every request needs one."""
    folder = tmp_path_factory.mktemp("daemon")
    with Daemon(folder / "data", folder / "daemon.log") as running:
        yield running


def test_a_key_sees_only_what_it_may_do_and_an_unknown_one_is_asked_again(console: OpenConsole) -> None:
    page = console().open("service/keys")
    page.get_by_text("Create a key").first.click()
    page.get_by_label("Name", exact=True).fill("root")
    page.get_by_role("button", name="Create a key").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("reader")
    for scope in ("speak:", "train:"):
        page.get_by_label(scope).uncheck()
    page.get_by_role("button", name="Create a key").click()
    expect(page.get_by_text("The key of reader")).to_be_visible()
    secret = page.locator("code.secret").inner_text()

    reader = console()
    page = reader.open()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("API key").fill("sk-wrong")
    page.get_by_role("button", name="Sign in").click()
    rejection = page.get_by_text("not known or was revoked")
    expect(rejection).to_be_visible()
    assert reader.faults_of_access([rejection.inner_text()]) == []
    page.get_by_label("API key").fill(secret)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("navigation", name="Pages")).to_be_visible()
    links = page.get_by_role("navigation", name="Pages").get_by_role("link")
    expect(links).to_have_text(["New voice", "Voices and models", "Data sets", "Experiments", "Service"])
    expect(page.get_by_role("button", name="Start the training")).to_have_count(0)
    page.get_by_role("link", name="Service").click()
    expect(page.locator(".tabs a")).to_have_text(["Overview", "Jobs", "Dead letters", "Limits", "Webhooks"])
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Service")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
