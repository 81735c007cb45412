"""A browser, the whole daemon with the bundled voice, and pages of the console."""

from __future__ import annotations

import importlib.util
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import soundfile

from scripts.demo_daemon import Daemon

if TYPE_CHECKING:
    from browser_world import ConsolePage, OpenConsole
    from playwright.sync_api import Browser

collect_ignore_glob = [] if importlib.util.find_spec("playwright") else ["test_*.py"]

RECORDING = Path(__file__).resolve().parents[2] / "prompts" / "allison" / "recording.flac"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update"),
    *("--disable-background-networking", "--disable-sync", "--autoplay-policy=no-user-gesture-required"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
]


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 16 s of the bundled recording as a WAV."""
    samples, rate = soundfile.read(RECORDING, frames=16 * 16_000, dtype="int16")
    path = tmp_path_factory.mktemp("recording") / "recording.wav"
    soundfile.write(path, samples, rate)
    return path


@pytest.fixture(scope="module")
def browser(recording: Path) -> Iterator[Browser]:
    """Yield Chromium, whose microphone hears the recording; for a module, as no other event loop runs beside it."""
    if not CHROMIUM:
        pytest.skip("Chromium is missing: apt-get install chromium (scripts/setup browser does it as root).")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = [*ARGUMENTS, f"--use-file-for-fake-audio-capture={recording}"]
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield launched
        launched.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Yield a daemon for the tests of this folder; it keeps its port, since its API is killed while a page is open."""
    folder = tmp_path_factory.mktemp("daemon")
    settings = {"PORT": str(free_port()), "EVALUATION_SENTENCES": "1", "WORKER_RETRY_DELAY_SECONDS": "0.2"}
    with Daemon(folder / "data", folder / "daemon.log", settings) as running:
        yield running


@pytest.fixture
def console(browser: Browser, daemon: Daemon) -> Iterator[OpenConsole]:
    """Yield a function that opens a console; at the end no page of it may have met a fault or follow two streams."""
    from browser_world import ConsolePage

    consoles: list[ConsolePage] = []

    def opened(url: str = "", **options: Any) -> ConsolePage:
        consoles.append(ConsolePage(browser, url or daemon.url, **options))
        return consoles[-1]

    yield opened
    for console_page in consoles:
        assert console_page.faults == []
        assert console_page.violations() == []
        assert console_page.count_streams() <= 1
        console_page.close()
