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
        client.delete("/voices/broken").raise_for_status()


def wait_for(client: httpx.Client, path: str, status: str) -> None:
    deadline = time.monotonic() + 180
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
    expect(page.get_by_role("img", name=re.compile("Waiting jobs"))).to_be_visible(timeout=120_000)
    deadline = time.monotonic() + 180
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


def test_a_list_shows_what_others_have_changed(console: OpenConsole, daemon: Daemon) -> None:
    page = console().open("service/webhooks")
    expect(page.get_by_text("No webhook")).to_be_visible()
    with httpx.Client(base_url=f"{daemon.url}/api/v1") as client:
        webhook = client.post("/webhooks", json={"url": "https://1.1.1.1/hook"}).raise_for_status().json()["id"]
        expect(page.get_by_text("https://1.1.1.1/hook")).to_be_visible()
        client.delete(f"/webhooks/{webhook}").raise_for_status()
        expect(page.get_by_text("https://1.1.1.1/hook")).to_be_hidden()


def test_limits_are_changed_while_the_service_runs(console: OpenConsole, daemon: Daemon) -> None:
    page = console().open("service/limits")
    field = page.get_by_label("Training on cpu")
    field.fill("3")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()

    assert httpx.get(f"{daemon.url}/api/v1/resources").json()["limits"]["cpu"]["training"] == 3
