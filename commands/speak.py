"""`main.py speak`: a text through the running API, into a file, and its subtitles into another one."""

from __future__ import annotations

import argparse
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from common.files import write_atomically
from common.hosts import http_url
from core.errors import InvalidRequest, NotReady, SovitsError, TimedOut
from core.settings import Settings
from core.speech.subtitles import SUBTITLE_FORMATS

POLL_SECONDS: Final = 0.2


def speak(options: argparse.Namespace, settings: Settings) -> int:
    """Synthesize a text through the running API and write the audio file; return the exit code.

    Raises SovitsError with the API's own message, and NotReady when it does not respond.
    """
    output = Path(options.output)
    audio_format = output.suffix.removeprefix(".").lower() or "wav"
    api = _Api(settings, options.api_key)
    if options.subtitles:
        audio, subtitles = _speak_with_subtitles(api, options, audio_format)
        write_atomically(Path(options.subtitles), subtitles)
        print(options.subtitles)
    else:
        audio = api.call(
            "/v1/audio/speech",
            {
                "model": "tts-1",
                "input": options.text,
                "voice": options.voice,
                "speed": options.speed,
                "response_format": audio_format,
            },
        )
    write_atomically(output, audio)
    print(f"{output} ({len(audio)} bytes)")
    return 0


def _speak_with_subtitles(api: _Api, options: argparse.Namespace, audio_format: str) -> tuple[bytes, bytes]:
    """Return the audio and the subtitles of an inference, which takes texts of any length."""
    subtitle_format = Path(options.subtitles).suffix.removeprefix(".").lower()
    if subtitle_format not in SUBTITLE_FORMATS:
        raise InvalidRequest(
            f"Subtitles cannot be written as {options.subtitles}.",
            hint=f"End the name in .{', .'.join(SUBTITLE_FORMATS)}.",
        )
    body = {"text": options.text, "voice": options.voice, "speed": options.speed, "format": audio_format}
    inference: dict[str, Any] = json.loads(api.call("/api/v1/inference", body))
    path = f"/api/v1/inference/{inference['id']}"
    deadline = time.monotonic() + api.timeout
    while inference["status"] not in ("completed", "failed", "cancelled"):
        if time.monotonic() > deadline:
            raise TimedOut(f"The text was not spoken after {api.timeout:g} s.", hint=f"GET {path} tells how far it is.")
        time.sleep(POLL_SECONDS)
        inference = json.loads(api.call(path))
    if inference["status"] != "completed":
        raise SovitsError(f"The text was not spoken: {inference['error_message'] or inference['status']}")
    query = f"format={subtitle_format}&max_line_characters={options.max_line_characters}"
    return api.call(f"{path}/audio"), api.call(f"{path}/subtitles?{query}")


class _Api:
    """The running API."""

    def __init__(self, settings: Settings, key: str) -> None:
        self.url = api_url(settings)
        self.timeout = settings.synthesis_timeout_seconds
        key = key or next(iter(settings.valid_api_keys), "")
        self.headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def call(self, path: str, body: dict[str, object] | None = None) -> bytes:
        """Return the response of a path; raise SovitsError with the API's own message."""
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310  # the scheme is http: our own API wrote the address
            self.url + path, content, self.headers
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:  # noqa: S310
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            message = error.read().decode(errors="replace")
            try:
                reason = str(json.loads(message)["error"]["message"])
            except (ValueError, KeyError, TypeError):
                reason = message[:200]
            raise SovitsError(f"The API refused ({error.code}): {reason}") from None
        except urllib.error.URLError as error:
            raise NotReady(f"The API does not answer: {error.reason}.", hint="Is the daemon running?") from None


def api_url(settings: Settings) -> str:
    """Return the URL that the API of this data folder announced, or else that of the settings."""
    try:
        announcement = json.loads((settings.data_path / "run" / "api.json").read_bytes())
    except (OSError, ValueError):
        return http_url(settings.host, settings.port)
    return str(announcement["url"]).rstrip("/")
