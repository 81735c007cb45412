"""Consents in a real browser, against the whole daemon: given by a form or spoken, shown, withdrawn."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from browser_world import OpenConsole
from playwright.sync_api import Page, expect

from scripts.demo_daemon import Daemon

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def voice(daemon: Daemon, recording: Path) -> str:
    """Return the id of a voice without a consent."""
    with httpx.Client(base_url=daemon.url, timeout=60) as client:
        [bundled] = [item for item in client.get("/api/v1/voices").json()["items"] if item["name"] == "allison"]
        content = recording.read_bytes()
        file = client.post("/api/v1/files", files={"file": ("prompt.wav", content)}).json()
        models = {name: bundled[name] for name in ("gpt_checkpoint_id", "sovits_checkpoint_id")}
        prompt = {"file_id": file["id"], "text": "The person at extension.", "language": "en"}
        body = {"name": "consented", "prompts": [prompt], **models}
        created = client.post("/api/v1/voices", json=body)
        assert created.status_code == 201, created.text
        voice_id: str = created.json()["id"]
        return voice_id


def open_voice(console: OpenConsole, voice: str, language: str) -> Page:
    return console(locale=language).open(f"voices/{voice}")


def test_a_consent_is_given_shown_and_withdrawn_in_chinese(console: OpenConsole, daemon: Daemon, voice: str) -> None:
    page = open_voice(console, voice, "zh-CN")
    section = page.get_by_role("region", name="说话人的同意")
    expect(section.get_by_text("此音色没有同意记录。")).to_be_visible()
    section.get_by_text("添加同意").click()
    section.get_by_label("同意人").fill("<b>李安娜</b>")
    section.get_by_label("用途").fill("有声书，导览")
    section.get_by_label("有效期至").fill("2099-12-31")
    section.get_by_label("录音中的人已同意").check()
    section.get_by_role("button", name="保存").click()

    expect(section.get_by_text("<b>李安娜</b>")).to_be_visible()
    expect(section.get_by_text("有声书, 导览")).to_be_visible()
    expect(section.get_by_text("2099")).to_be_visible()
    expect(section.get_by_text("有效", exact=True)).to_be_visible()
    section.get_by_role("button", name="撤回同意").click()
    section.get_by_role("button", name="是", exact=True).click()
    expect(section.get_by_text("已撤回")).to_be_visible()
    speech = httpx.post(f"{daemon.url}/v1/audio/speech", json={"model": "nano", "voice": voice, "input": "Hello."})
    assert (speech.status_code, speech.json()["error"]["code"]) == (403, "consent_required")
    httpx.delete(f"{daemon.url}/api/v1/voices/{voice}")


def test_a_recording_without_the_phrase_is_no_consent_and_the_page_says_what_to_say(
    console: OpenConsole, daemon: Daemon, voice: str
) -> None:
    page = open_voice(console, voice, "en-US")
    section = page.get_by_role("region", name="Consent of the speaker")
    section.get_by_text("Add a consent").click()
    section.get_by_text("Record the consent").click()
    expect(section.get_by_text("I consent to sovitsd using this voice")).to_be_visible()
    section.get_by_role("button", name="Start recording").click()
    expect(section.get_by_text("0:05")).to_be_visible(timeout=60_000)
    section.get_by_role("button", name="Stop").click()
    section.get_by_role("button", name="Use this recording").click()

    expect(section.get_by_role("alert")).to_contain_text("not the phrase of a consent", timeout=180_000)
    httpx.delete(f"{daemon.url}/api/v1/voices/{voice}")
