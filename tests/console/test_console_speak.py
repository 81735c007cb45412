"""The page Speak in a real browser, against the whole daemon."""

from __future__ import annotations

import io
import re
from pathlib import Path

import av
import pytest
import soundfile
from browser_world import OpenConsole
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TEXT = "The first sentence is short. " + " ".join(
    f"Another sentence follows, which is a good deal longer than the first one was, and it is number {number}."
    for number in ("two", "three", "four", "five", "six", "seven", "eight", "nine")  # no two of them are made at once
)


def open_speak(console: OpenConsole) -> Page:
    """Open the page with the bundled voice; other tests may have added voices."""
    page = console().open("speak")
    page.get_by_label("Voice", exact=True).select_option(label="allison (nano)")
    return page


def test_a_text_is_played_while_it_is_generated_and_saved_as_it_was_heard(console: OpenConsole, tmp_path: Path) -> None:
    page = open_speak(console)
    page.get_by_label("Text", exact=True).fill(TEXT)
    page.get_by_role("button", name="Speak", exact=True).click()
    card = page.locator("[data-speech]").first
    speaking = page.locator("[data-speech][data-phase=speaking]")
    expect(speaking.get_by_text("more is being generated")).to_be_visible()
    expect(card.locator("mark")).to_have_text(re.compile(r"^(first|sentence|is|short\.|Another)$"), timeout=60_000)
    expect(card.get_by_role("slider")).to_be_visible(timeout=180_000)
    expect(card.locator("mark")).to_have_count(0)
    with page.expect_download() as download:
        card.get_by_role("button", name="Download WAV").click()
    download.value.save_as(tmp_path / "speech.wav")
    samples, rate = soundfile.read(tmp_path / "speech.wav")

    page.goto(f"{page.url.split('#')[0]}#/voices/detect")
    page.get_by_label("Choose a recording").set_input_files(tmp_path / "speech.wav")
    expect(page.get_by_text("Synthetic: this server has spoken it.")).to_be_visible(timeout=180_000)

    assert b"AIGC" in (tmp_path / "speech.wav").read_bytes()
    assert rate == 16_000, "that of the voice"
    assert len(samples) / rate > 4
    assert abs(samples).max() > 0.05


def test_the_draft_and_the_audio_outlive_a_reload_and_the_seed_gives_the_same_in_another_format(
    console: OpenConsole, tmp_path: Path
) -> None:
    page = open_speak(console)
    page.get_by_label("Text", exact=True).fill("Good morning.")
    page.get_by_label("Format to save").select_option("flac")
    page.get_by_text("More options").click()
    page.get_by_label("Seed").fill("42")
    page.get_by_role("button", name="Speak", exact=True).click()
    expect(page.get_by_role("slider")).to_be_visible(timeout=180_000)
    page.reload()

    expect(page.get_by_label("Text", exact=True)).to_have_value("Good morning.")
    expect(page.get_by_label("Format to save")).to_have_value("flac")
    expect(page.get_by_role("slider")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download FLAC").click()
    content = Path(download.value.path()).read_bytes()
    with av.open(io.BytesIO(content), "r") as audio:
        seconds = sum(frame.samples / frame.sample_rate for frame in audio.decode(audio=0))

    assert content.startswith(b"fLaC")
    assert download.value.suggested_filename == "speech-42.flac"
    assert seconds > 0.5


def test_a_long_text_becomes_a_job_with_progress(console: OpenConsole) -> None:
    page = open_speak(console)
    page.get_by_label("Text", exact=True).fill("One. " + " " * 4100 + "Two.")
    expect(page.get_by_text("spoken as a job")).to_be_visible()
    page.get_by_role("button", name="Speak", exact=True).click()

    expect(page.get_by_role("button", name="Download", exact=True)).to_be_visible(timeout=180_000)


def test_subtitles_become_files_in_one_archive(console: OpenConsole, tmp_path: Path) -> None:
    subtitles = tmp_path / "film.srt"
    subtitles.write_text(
        "1\n00:00:01,000 --> 00:00:02,000\nHello.\n\n2\n00:00:03,000 --> 00:00:04,000\nGoodbye.\n", encoding="utf-8"
    )
    page = open_speak(console)
    page.get_by_label("Text file or subtitles").set_input_files(subtitles)
    page.get_by_role("button", name="Speak them as files").click()

    expect(page.get_by_role("button", name="Download", exact=True)).to_be_visible(timeout=180_000)


def test_an_error_of_the_server_is_shown_with_its_hint(console: OpenConsole) -> None:
    page = open_speak(console)
    page.get_by_label("Text", exact=True).fill("{GIF|nonsense}")
    page.get_by_role("button", name="Speak", exact=True).click()

    expect(page.get_by_role("alert")).to_contain_text("nonsense")


def test_the_language_changes_without_a_reload(console: OpenConsole) -> None:
    page = open_speak(console)
    page.evaluate("window.sameDocument = true")
    page.get_by_label("Text", exact=True).fill("kept")
    page.get_by_label("Language", exact=True).select_option("zh")

    expect(page.get_by_role("heading", level=1)).to_have_text("朗读")
    expect(page.get_by_label("文本", exact=True)).to_have_value("kept")
    assert page.evaluate("window.sameDocument") is True
