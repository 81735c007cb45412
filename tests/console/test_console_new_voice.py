"""A newcomer's way: record, train, listen to the epochs, publish one, speak with it; the API is killed on the way."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import soundfile
from browser_world import ConsolePage, OpenConsole
from playwright.sync_api import Browser, Page, expect

from core.records import Records
from core.settings import read_settings
from scripts.demo_daemon import Daemon, descendants

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

SHORT = {
    "audio_slice": {"min_length": 2000, "min_interval": 100},
    "sovits_train": {"total_epoch": 2, "save_every_epoch": 1, "batch_size": 8},
    "gpt_train": {"total_epoch": 2, "save_every_epoch": 1, "batch_size": 8},
}
NAME = '<img src=x onerror="window.hacked=1"> שלום ' + "x" * 40
TRAINING_MS = 600_000
LOSSES = ("spectral", "pitch", "voiced", "total", "loss")
"""As the training programs name them."""


@pytest.fixture(scope="module")
def trained(browser: Browser, daemon: Daemon) -> Iterator[Page]:
    """Yield the page of a task that was recorded, started and followed to its end."""
    console = ConsolePage(browser, daemon.url)
    page = console.open("new-voice")
    page.evaluate("window.sameDocument = true")
    record(page)
    page.get_by_label("Name of the voice").fill(NAME)
    page.get_by_label("Language of the recording").select_option("en")
    page.get_by_label("Model").select_option("nano")
    page.get_by_label("Quality").select_option("fast")
    expect(page.get_by_role("button", name="Start the training")).to_be_disabled()
    page.get_by_label("has agreed").check()
    page.get_by_role("button", name="Start the training").click()
    expect(page.get_by_role("heading", name="Stages")).to_be_visible()
    task = page.url.rpartition("/")[2]
    with ThreadPoolExecutor(1) as pool:  # the browser's event loop runs in this thread
        pool.submit(lambda: asyncio.run(train_shortly(daemon, task))).result()
    expect(page.get_by_text(re.compile("SoVITS training · epoch"))).to_be_visible(timeout=TRAINING_MS)
    kill_api(daemon)
    expect(page.get_by_text("The connection was lost")).to_be_visible()
    expect(page.get_by_text("The connection was lost")).to_be_hidden(timeout=180_000)
    expect(page.get_by_text("The voice is ready.")).to_be_visible(timeout=TRAINING_MS)
    assert page.evaluate("window.sameDocument") is True, "without a reload"
    assert console.violations() == []
    yield page
    console.close()


def record(page: Page) -> None:
    """Let the microphone hear 14 s, and send them."""
    page.get_by_text("Record with the microphone").click()
    page.get_by_role("button", name="Start recording").click()
    expect(page.get_by_label("Level of the microphone")).to_be_visible()
    expect(page.get_by_text("0:14")).to_be_visible(timeout=180_000)
    page.get_by_role("button", name="Stop recording").click()
    expect(page.get_by_role("slider", name="Your recording")).to_be_visible()
    page.get_by_role("button", name="Use this recording").click()
    expect(page.get_by_text("Background noise")).to_be_visible()
    expect(page.get_by_text("The recording is short.")).to_be_visible()


async def train_shortly(daemon: Daemon, task_id: str) -> None:
    """Replace the parameters of the quality: no user waits for this voice."""
    async with httpx.AsyncClient(base_url=daemon.url) as client:
        task = (await client.get(f"/api/v1/tasks/{task_id}")).json()
    records = Records(read_settings(data_path=daemon.data).resolved_database_url)
    async with records.experiments.transaction(task["exp_id"]) as change:
        change.set_experiment(parameters={**change.experiment.parameters, **SHORT})
    await records.close()


def kill_api(daemon: Daemon) -> None:
    for pid in descendants(daemon.process.pid):
        if "api" in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0"):
            os.kill(pid, signal.SIGKILL)
            return
    raise AssertionError("no process of the API")


def test_a_name_that_looks_like_markup_is_text(trained: Page) -> None:
    expect(trained.get_by_role("heading", level=2).first).to_have_text(NAME)
    assert trained.evaluate("window.hacked") is None


def test_every_saved_epoch_can_be_heard_and_has_its_numbers(trained: Page) -> None:
    training = trained.get_by_role("region", name="SoVITS training", exact=True)
    expect(training.get_by_role("img", name=re.compile("Losses by step"))).to_be_visible()
    rows = training.locator("table.list tbody tr")
    expect(rows).to_have_count(3)
    expect(training.get_by_text("best", exact=True)).to_have_count(1)
    before = rows.nth(0)
    expect(before.locator("td").first).to_have_text("before the training")
    before.get_by_role("button", name="Play: sample before the training").click()
    expect(before.get_by_role("slider")).to_be_visible()
    for number in (1, 2):
        row = rows.nth(number)
        row.get_by_role("button", name=f"Play: sample of epoch {number}").click()
        expect(row.get_by_role("slider")).to_be_visible()
        expect(row.locator("td").nth(5)).to_have_text(re.compile(r"^\d\.\d{3}$"))  # similarity


def test_another_epoch_can_be_published_and_speaks(trained: Page, daemon: Daemon, console: OpenConsole) -> None:
    training = trained.get_by_role("region", name="SoVITS training", exact=True)
    published = training.get_by_text("in the voice")
    expect(published).to_have_count(1)
    other = training.get_by_role("row").filter(has=trained.get_by_role("button", name="Publish this one"))
    epoch = other.locator("td").first.inner_text().split()[0]
    other.get_by_role("button", name="Publish this one").click()
    expect(training.get_by_role("row").filter(has_text="in the voice").locator("td").first).to_contain_text(epoch)

    page = console().open("speak")
    page.get_by_label("Voice", exact=True).select_option(label=f"{NAME} (nano)")
    page.get_by_label("Text", exact=True).fill("It speaks.")
    page.get_by_role("button", name="Speak", exact=True).click()
    expect(page.get_by_role("slider")).to_be_visible(timeout=180_000)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download WAV").click()
    samples, _ = soundfile.read(Path(download.value.path()))
    assert abs(samples).max() > 0.02


def test_the_page_of_a_task_is_accessible_and_chinese_in_chinese(trained: Page, console: OpenConsole) -> None:
    opened = console()
    page = opened.open(f"new-voice/{trained.url.rpartition('/')[2]}")
    expect(page.get_by_role("heading", name="SoVITS training")).to_be_visible()

    assert opened.faults_of_access({NAME, *LOSSES}) == []


def test_the_voice_and_its_models_are_listed_with_their_lineage(trained: Page, console: OpenConsole) -> None:
    opened = console()
    page = opened.open("voices")
    page.get_by_role("link", name=NAME).click()
    expect(page.get_by_role("heading", name="Prompts")).to_be_visible()
    page.get_by_role("button", name="Play: default").click()
    expect(page.get_by_role("slider")).to_be_visible()
    assert opened.faults_of_access({NAME}) == []
    page.locator("dd a[href*='models']").first.click()
    expect(page.get_by_role("heading", name="Lineage")).to_be_visible()
    expect(page.locator("dl dl").first).to_be_visible()
    assert opened.faults_of_access({NAME}) == []


def test_the_draft_of_a_new_voice_outlives_a_reload(console: OpenConsole, recording: Path) -> None:
    page = console().open("new-voice")
    page.get_by_label("Choose a recording").set_input_files(recording)
    expect(page.get_by_text("Choose another recording")).to_be_visible()
    page.get_by_label("Name of the voice").fill("Later")
    page.reload()

    expect(page.get_by_label("Name of the voice")).to_have_value("Later")
    expect(page.get_by_text("recording.wav")).to_be_visible()


def test_an_upload_shows_its_progress_and_is_cancelled(console: OpenConsole, daemon: Daemon, recording: Path) -> None:
    files = httpx.get(f"{daemon.url}/api/v1/files").json()["total"]
    page = console().open("new-voice")
    network = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 20_000}
    network.send("Network.emulateNetworkConditions", slow)
    page.get_by_label("Choose a recording").set_input_files(recording)
    expect(page.get_by_role("progressbar", name="Upload")).to_have_attribute("value", re.compile(r"^0\.\d+$"))
    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_label("Choose a recording")).to_be_attached()
    expect(page.get_by_role("alert")).to_have_count(0)
    assert httpx.get(f"{daemon.url}/api/v1/files").json()["total"] == files


def test_an_unusable_recording_is_rejected_with_a_reason(console: OpenConsole, tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, [0.0] * 16_000 * 2, 16_000)
    page = console().open("new-voice")
    page.get_by_label("Choose a recording").set_input_files(silence)

    expect(page.get_by_role("alert")).to_contain_text("Nothing can be heard")


def test_pronunciations_of_a_voice_are_added_and_removed(console: OpenConsole, daemon: Daemon) -> None:
    page = console().open("voices/allison")
    page.get_by_label("Word").fill("GIF")
    page.get_by_label("Pronunciation", exact=True).fill("JH IH1 F")
    page.get_by_role("button", name="Add", exact=True).click()
    row = page.get_by_role("row").filter(has_text="JH IH1 F")
    expect(row).to_be_visible()
    assert httpx.get(f"{daemon.url}/api/v1/voices/allison").json()["pronunciations"] == {"GIF": "JH IH1 F"}
    row.get_by_role("button", name="Delete").click()
    expect(row).to_be_hidden()
    assert httpx.get(f"{daemon.url}/api/v1/voices/allison").json()["pronunciations"] == {}


def test_a_voice_is_exported_and_imported_under_another_name(console: OpenConsole, tmp_path: Path) -> None:
    page = console().open("voices")
    row = page.get_by_role("row").filter(has_text="allison")
    with page.expect_download(timeout=180_000) as download:
        row.get_by_role("button", name="Export").click()
    archive = tmp_path / "voice.zip"
    download.value.save_as(archive)
    page.get_by_text("Import a voice").click()
    page.get_by_label("Choose a ZIP").set_input_files(archive)
    page.get_by_label("Name of the voice").fill("Allison 2")
    page.get_by_role("button", name="Import", exact=True).click()

    expect(page.get_by_text("The voice was imported.")).to_be_visible(timeout=180_000)
    expect(page.get_by_role("link", name="Allison 2")).to_be_visible()
