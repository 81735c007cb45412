"""Whether a site serves: its readiness, and a word that it speaks."""

from __future__ import annotations

import socket
from typing import Final
from urllib.parse import urlsplit

import httpx

from core.errors import SovitsError
from core.settings import Settings

WORD: Final = "yes"
MIN_AUDIO_BYTES: Final = 1000
"""A WAV of less is no word."""
SPEECH_SECONDS: Final = 60.0


class ProbeFailed(SovitsError):
    """A site that does not serve."""

    code = "probe_failed"


class SiteProbe:
    """Asks one site over HTTP."""

    def __init__(self, settings: Settings, url: str) -> None:
        self.url = url.rstrip("/")
        self._settings = settings
        key = settings.standby_api_key.get_secret_value()
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

    def ready(self) -> None:
        """Raise ProbeFailed unless the site says that it is ready."""
        response = self._send("GET", "/readyz", self._settings.standby_probe_timeout_seconds)
        if response.status_code != 200:
            raise ProbeFailed(f"{self.url}/readyz answers {response.status_code}: {response.text[:200]}")

    def speak(self, text: str = WORD) -> int:
        """Have the site speak, and return the size of the audio; raise ProbeFailed when there is none."""
        body: dict[str, object] = {
            "model": "tts-1",
            "input": text,
            "voice": self._settings.standby_probe_voice or "alloy",
            "response_format": "wav",
            "seed": 1,
            "verify": "off",
        }
        response = self._send("POST", "/v1/audio/speech", SPEECH_SECONDS, body)
        if response.status_code != 200 or response.content[:4] != b"RIFF" or len(response.content) < MIN_AUDIO_BYTES:
            raise ProbeFailed(f"{self.url} does not speak: {response.status_code} {response.text[:200]!r}")
        return len(response.content)

    def _send(self, method: str, path: str, seconds: float, body: dict[str, object] | None = None) -> httpx.Response:
        try:
            return httpx.request(method, f"{self.url}{path}", json=body, headers=self._headers, timeout=seconds)
        except httpx.HTTPError as error:
            raise ProbeFailed(f"{self.url} does not answer: {error or type(error).__name__}") from None


def unreachable_vantages(addresses: tuple[str, ...], seconds: float) -> list[str]:
    """Return which of the known addresses, `host:port` or URLs, cannot be reached from here."""
    return [address for address in addresses if not _is_reachable(address, seconds)]


def _is_reachable(address: str, seconds: float) -> bool:
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=seconds):
            return True
    except OSError:
        return False
