"""Data sets in the browser: made of a ZIP, corrected, filtered by problem; which phonemes are missing."""

from __future__ import annotations

import zipfile
from pathlib import Path

import httpx
import pytest
import soundfile
from browser_world import ConsolePage, OpenConsole
from playwright.sync_api import Browser, expect

from scripts.demo_daemon import Daemon

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def dataset(browser: Browser, daemon: Daemon, recording: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the id of a data set that was made of a ZIP with a list of transcripts, one of which is silence."""
    folder = tmp_path_factory.mktemp("archive")
    samples, rate = soundfile.read(recording, dtype="int16")
    soundfile.write(folder / "one.wav", samples[: 5 * rate], rate)
    soundfile.write(folder / "two.wav", samples[5 * rate : 9 * rate], rate)
    lines = ["one.wav|anna|en|Helo world.", "two.wav|anna|en|<script>alert(1)</script>"]
    archive = folder / "recordings.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("one.wav", "two.wav"):
            file.write(folder / name, name)
        file.writestr("all.list", "\n".join(lines))
    console = ConsolePage(browser, daemon.url)
    page = console.open("datasets")
    page.get_by_text("New data set").click()
    page.get_by_label("Choose recordings or a ZIP").set_input_files(archive)
    page.get_by_label("Name", exact=True).fill("Two files")
    page.locator("form").get_by_label("Language").select_option("en")
    page.get_by_role("button", name="Create the data set").click()
    expect(page.locator("[data-segment]")).to_have_count(2, timeout=180_000)
    expect(page.get_by_text("<script>alert(1)</script>")).to_be_visible()
    expect(page.locator("[data-segment] [role=slider]")).to_have_count(2)
    console.close()
    return page.url.rpartition("/")[2]


def test_a_transcript_is_corrected_in_a_new_version(console: OpenConsole, daemon: Daemon, dataset: str) -> None:
    page = console().open(f"datasets/{dataset}")
    segment = page.locator("[data-segment]").filter(has_text="Helo world.")
    number = segment.get_attribute("data-segment")
    segment.get_by_role("button", name="Correct the transcript").click()
    editor = page.locator(f"[data-segment='{number}']")
    editor.get_by_label("Transcript").fill("Hello world.")
    editor.get_by_role("button", name="Save").click()
    expect(editor.get_by_text("Hello world.", exact=True)).to_be_visible()

    version = httpx.get(f"{daemon.url}/api/v1/datasets/{dataset}").json()
    assert version["version"] == 2
    corrected = httpx.get(f"{daemon.url}/api/v1/datasets/{dataset}/segments/{number}").json()
    assert corrected["transcript"] == "Hello world."
    old = httpx.get(f"{daemon.url}/api/v1/datasets/{dataset}/segments/{number}?version=1").json()
    assert old["transcript"] == "Helo world."


def test_a_segment_is_left_out_and_taken_back(console: OpenConsole, dataset: str) -> None:
    page = console().open(f"datasets/{dataset}")
    segment = page.locator("[data-segment]").first
    segment.get_by_role("button", name="Exclude").click()
    expect(segment.get_by_text("left out")).to_be_visible()
    segment.get_by_role("button", name="Include").click()
    expect(segment.get_by_text("left out")).to_be_hidden()


def test_a_part_of_a_segment_is_kept_and_the_draft_of_a_transcript_outlives_a_reload(
    console: OpenConsole, daemon: Daemon, dataset: str
) -> None:
    page = console().open(f"datasets/{dataset}")
    segment = page.locator("[data-segment]").last
    number = segment.get_attribute("data-segment")
    path = f"{daemon.url}/api/v1/datasets/{dataset}/segments/{number}"
    seconds = httpx.get(path).json()["duration_seconds"]
    segment.get_by_role("button", name="Correct the transcript").click()
    segment.get_by_label("Transcript").fill("Half a")
    page.reload()
    expect(segment.get_by_label("Transcript")).to_have_value("Half a")
    segment.get_by_role("button", name="Cancel").click()

    segment.get_by_role("button", name="Cut", exact=True).click()
    expect(segment.get_by_role("button", name="Play")).to_be_enabled(timeout=60_000)
    segment.get_by_label("Start").fill("0.5")
    segment.get_by_label("End").fill("1.5")
    segment.get_by_role("button", name="Keep only this part").click()
    expect(segment.get_by_text("+ 1.0 s")).to_be_visible(timeout=180_000)
    assert httpx.get(path).json()["duration_seconds"] < seconds


def test_missing_phonemes_are_named_with_sentences_to_record(console: OpenConsole, dataset: str) -> None:
    page = console().open(f"datasets/{dataset}")
    page.get_by_role("button", name="Find missing phonemes").click()
    expect(page.get_by_text("phonemes occur in the transcripts.")).to_be_visible(timeout=180_000)
    expect(page.get_by_role("heading", name="Record these next")).to_be_visible()
    assert "ZH" in page.locator("p code").filter(has_text="ZH").inner_text().split()


def test_the_report_filters_segments_by_problem(console: OpenConsole, dataset: str) -> None:
    opened = console()
    page = opened.open(f"datasets/{dataset}")
    page.get_by_role("button", name="Examine", exact=True).click()
    wrong = page.get_by_role("button", name="wrong transcript")
    expect(wrong).to_be_visible(timeout=120_000)
    wrong.click()
    expect(page.get_by_role("heading", name="Segments: wrong transcript")).to_be_visible()
    expect(page.locator("[data-segment]").first.get_by_text("wrong transcript")).to_be_visible()
    assert opened.faults_of_access() == []
