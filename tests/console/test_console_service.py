"""The page Service: what runs and waits, dead letters, limits, keys; and what a key without permissions sees."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from browser_world import OpenConsole
from playwright.sync_api import expect

from scripts.demo_daemon import Daemon

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TABS = ("overview", "jobs", "dead-letters", "limits", "webhooks", "keys", "audit")


@pytest.fixture(scope="module")
def dead_letter(daemon: Daemon) -> Iterator[tuple[str, Path]]:
    """Yield the id of an inference whose voice's prompt was gone, and where that is kept meanwhile."""
    with httpx.Client(base_url=f"{daemon.url}/api/v1", timeout=30) as client:
        archive = client.get("/voices/allison/export").content
        job = client.post("/voices/import", files={"archive": archive}, data={"name": "broken"}).json()
        wait_for(client, f"/jobs/{job['id']}", "done")
        voice = client.get("/voices/broken").json()["id"]
        folder = daemon.data / "storage" / "voices" / voice
        kept = folder.with_name("kept")
        folder.rename(kept)
        inference = client.post("/inference", json={"text": "Hello.", "voice": "broken"}).json()["id"]
        wait_for(client, f"/inference/{inference}", "failed")
        yield inference, kept
        if kept.exists():
            kept.rename(folder)


def wait_for(client: httpx.Client, path: str, status: str) -> None:
    deadline = time.monotonic() + 60
    while client.get(path).json()["status"] != status:
        assert time.monotonic() < deadline, client.get(path).text
        time.sleep(0.1)


def newest_sample(daemon: Daemon) -> dict[str, dict[str, int]]:
    samples: list[dict[str, dict[str, int]]] = httpx.get(f"{daemon.url}/api/v1/service/history").json()["samples"]
    return samples[-1]


def test_the_overview_shows_queues_hosts_and_the_last_hour_as_they_change(console: OpenConsole, daemon: Daemon) -> None:
    page = console().open("service")
    expect(page.locator("table.list tr").filter(has_text="Speech synthesis")).to_have_text(re.compile("[1-9]"))
    expect(page.get_by_text(re.compile(r"cores, .* GiB of memory free"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Waiting jobs"))).to_be_visible(timeout=40_000)
    deadline = time.monotonic() + 60
    while "synthesizer" not in newest_sample(daemon)["workers"]:  # the first sample is of a service that still starts
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_dead_letter_is_shown_with_its_error_and_runs_again(
    console: OpenConsole, daemon: Daemon, dead_letter: tuple[str, Path]
) -> None:
    inference, kept = dead_letter
    page = console().open("service/dead-letters")
    row = page.get_by_role("row").filter(has=page.get_by_text(inference, exact=True))
    expect(row).to_contain_text("prompt.wav")
    voice = httpx.get(f"{daemon.url}/api/v1/voices/broken").json()["id"]
    kept.rename(kept.with_name(voice))
    row.get_by_role("button", name="Run again").click()

    expect(page.get_by_text(f"Job {inference} runs again.")).to_be_visible()
    expect(row).to_be_hidden()
    with httpx.Client(base_url=f"{daemon.url}/api/v1") as client:
        wait_for(client, f"/inference/{inference}", "completed")


def test_limits_are_changed_while_the_service_runs(console: OpenConsole, daemon: Daemon) -> None:
    page = console().open("service/limits")
    field = page.get_by_label("Training on cpu")
    field.fill("3")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()

    assert httpx.get(f"{daemon.url}/api/v1/resources").json()["limits"]["cpu"]["training"] == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_part_of_the_page_is_accessible(console: OpenConsole, scheme: str) -> None:
    opened = console(color_scheme=scheme)
    page = opened.open("service")
    for tab in TABS:
        page.goto(f"{opened.url}/console/#/service/{tab}")
        expect(page.locator(".tabs [aria-current=page]")).to_have_attribute("href", f"#/service/{tab}")
        expect(page.get_by_text("Loading …")).to_have_count(0)
        assert opened.accessibility() == [], tab


def test_every_part_of_the_page_is_chinese_in_chinese(console: OpenConsole) -> None:
    opened = console(locale="zh-CN")
    page = opened.open("service")
    for tab in TABS:
        page.goto(f"{opened.url}/console/#/service/{tab}")
        expect(page.locator(".tabs [aria-current=page]")).to_have_attribute("href", f"#/service/{tab}")
        expect(page.get_by_text("正在加载")).to_have_count(0)
        labels = page.locator("h1, h2, h3, th, button, label, summary:not([dir])").all_inner_texts()
        english = [text for text in labels if re.search(r"[a-z]{4}", text) and text not in ("sovitsd", "English")]
        assert english == [], tab


def test_a_key_sees_only_what_it_may_do_and_an_unknown_one_is_asked_again(console: OpenConsole, daemon: Daemon) -> None:
    """Belongs last: from the first key on, every request needs one."""
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
    expect(page.get_by_text("not known or was revoked")).to_be_visible()
    assert reader.accessibility() == []
    page.get_by_label("API key").fill(secret)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("navigation", name="Pages")).to_be_visible()
    links = page.get_by_role("navigation", name="Pages").get_by_role("link").all_inner_texts()
    assert links == ["New voice", "Voices and models", "Data sets", "Experiments", "Service"]
    expect(page.get_by_role("button", name="Start the training")).to_have_count(0)
    page.get_by_role("link", name="Service").click()
    tabs = page.locator(".tabs a").all_inner_texts()
    assert tabs == ["Overview", "Jobs", "Dead letters", "Limits", "Webhooks"]
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Service")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
