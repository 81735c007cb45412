"""Pictures of the console, of a daemon of its own that has trained and spoken. See scripts/screenshots."""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import soundfile

from scripts.demo_daemon import REPOSITORY, Daemon

IMAGES = REPOSITORY / "docs" / "images"
RECORDING = REPOSITORY / "prompts" / "allison" / "recording.flac"
MAX_BYTES = 200_000
SIZE = {"width": 1280, "height": 860}
WAIT_SECONDS = 1200
TEXTS = {
    "en": "Good morning. This voice was made of a recording of sixteen seconds.",
    "zh": "Good morning. This voice was made of a recording of sixteen seconds.",
}


CONSENT = {
    "speaker": "Anna Example",
    "statement": "I agree that my voice is imitated for the audio guide of the museum.",
    "uses": ["audio guide"],
    "expires_at": "2035-12-31T22:59:59Z",
}


@dataclass(frozen=True, slots=True)
class World:
    """What there is to see."""

    task: str
    experiment: str
    dataset: str
    voice: str


def main() -> int:
    """Take every picture; return 1 when one is too large."""
    from playwright.sync_api import sync_playwright

    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = {"EVALUATION_SENTENCES": "2"}
        with (
            Daemon(Path(folder) / "data", Path(folder) / "daemon.log", settings) as daemon,
            httpx.Client(base_url=f"{daemon.url}/api/v1", timeout=60) as client,
        ):
            world = prepare(client)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
                    args=["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"],
                )
                for language in ("en", "zh"):
                    for theme in ("light", "dark"):
                        take_all(browser, daemon.url, world, language, theme)
                client.post("/keys", json={"name": "admin", "scopes": ["admin"]}).raise_for_status()
                for language in ("en", "zh"):
                    for theme in ("light", "dark"):
                        take_sign_in(browser, daemon.url, language, theme)
                browser.close()
    too_large = [path for path in IMAGES.glob("console-*.png") if path.stat().st_size > MAX_BYTES]
    for path in too_large:
        print(f"{path.name} has {path.stat().st_size} bytes; {MAX_BYTES} is the most.", file=sys.stderr)
    return 1 if too_large else 0


def prepare(client: httpx.Client) -> World:
    """Train a voice, create a data set with a report, and let some jobs run."""
    samples, rate = soundfile.read(RECORDING, frames=16 * 16_000, dtype="int16")
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format="WAV")
    file = client.post("/files", files={"file": ("recording.wav", content.getvalue())}).json()["id"]
    options = {"version": "nano", "language": "en", "quality": "fast"}
    consent = client.post("/consents", json=CONSENT).json()["id"]
    task_body = {"exp_name": "Anna", "audio_file_id": file, "options": options, "consent_id": consent}
    task = client.post("/tasks", json=task_body).json()
    body = {"name": "Anna, first recordings", "file_ids": [file], "language": "en"}
    dataset = client.post("/datasets", json=body).json()["id"]
    wait(lambda: client.get(f"/datasets/{dataset}").json()["status"] == "ready")
    transcripts = ("The quick brown fox jumps over the lazy dog.", "")
    changes = [{"number": number, "transcript": text} for number, text in enumerate(transcripts, start=1) if text]
    client.patch(f"/datasets/{dataset}/segments", json={"segments": changes}).raise_for_status()
    client.post(f"/datasets/{dataset}/report", json={}).raise_for_status()
    wait(lambda: client.get(f"/tasks/{task['id']}").json()["status"] not in ("queued", "running"))
    finished = client.get(f"/tasks/{task['id']}").json()
    return World(task["id"], task["exp_id"], dataset, finished["voice_id"])


def wait(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("The daemon took too long.")
        time.sleep(0.5)


def take_all(browser: Any, url: str, world: World, language: str, theme: str) -> None:
    """Take a picture of each page in one language and theme."""
    page = open_browser(browser, language, theme)
    pages = {
        "speak": "speak",
        "new-voice": "new-voice",
        "training": f"new-voice/{world.task}",
        "voices": "voices",
        "voice": f"voices/{world.voice}",
        "datasets": f"datasets/{world.dataset}",
        "experiments": f"experiments/{world.experiment}/sovits_train",
        "service": "service",
    }
    for name, route in pages.items():
        page.goto(f"{url}/console/#/{route}")
        page.locator("h1").wait_for()
        if name == "speak":
            page.locator("textarea").fill(TEXTS[language])
            page.locator("form [type=submit]").click()
            page.get_by_role("slider").first.wait_for(timeout=180_000)
            page.locator("form [type=submit]").click()
            page.locator("mark").first.wait_for(timeout=180_000)
            page.screenshot(path=IMAGES / f"console-{name}-{language}-{theme}.png")
            continue
        page.wait_for_load_state("networkidle") if name != "service" else page.locator(".chart").first.wait_for()
        page.wait_for_timeout(600)  # the browser draws
        page.screenshot(path=IMAGES / f"console-{name}-{language}-{theme}.png")
    page.context.close()


def take_sign_in(browser: Any, url: str, language: str, theme: str) -> None:
    """Take a picture of the page that asks for a key, which the server does once there is one."""
    page = open_browser(browser, language, theme)
    page.goto(f"{url}/console/")
    page.locator("input[type=password]").wait_for()
    page.screenshot(path=IMAGES / f"console-sign-in-{language}-{theme}.png")
    page.context.close()


def open_browser(browser: Any, language: str, theme: str) -> Any:
    """Return an empty page of a browser with a language and a theme."""
    locale = "zh-CN" if language == "zh" else "en-GB"
    return browser.new_context(locale=locale, color_scheme=theme, viewport=SIZE, device_scale_factor=1).new_page()


if __name__ == "__main__":
    sys.exit(main())
