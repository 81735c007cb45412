"""`main.py speak`: a sentence through the running API, into a file."""

from __future__ import annotations

import argparse
import json
import urllib.error
import urllib.request
from pathlib import Path

from common.files import write_atomically
from common.hosts import http_url
from core.errors import NotReady, SovitsError
from core.settings import Settings


def speak(options: argparse.Namespace, settings: Settings) -> int:
    """Synthesize a text through the running API and write the audio file; return the exit code.

    Raises SovitsError with the API's own message, and NotReady when it does not respond.
    """
    output = Path(options.output)
    body = {
        "model": "tts-1",
        "input": options.text,
        "voice": options.voice,
        "speed": options.speed,
        "response_format": output.suffix.removeprefix(".").lower() or "wav",
    }
    key = options.api_key or next(iter(settings.valid_api_keys), "")
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(  # noqa: S310  # the scheme is http: our own API wrote the address
        f"{api_url(settings)}/v1/audio/speech", json.dumps(body).encode(), headers
    )
    try:
        with urllib.request.urlopen(request, timeout=settings.synthesis_timeout_seconds) as response:  # noqa: S310
            audio = response.read()
    except urllib.error.HTTPError as error:
        content = error.read().decode(errors="replace")
        try:
            reason = str(json.loads(content)["error"]["message"])
        except (ValueError, KeyError, TypeError):
            reason = content[:200]
        raise SovitsError(f"The API refused ({error.code}): {reason}") from None
    except urllib.error.URLError as error:
        raise NotReady(f"The API does not answer: {error.reason}.", hint="Is the daemon running?") from None
    write_atomically(output, audio)
    print(f"{output} ({len(audio)} bytes)")
    return 0


def api_url(settings: Settings) -> str:
    """Return the URL that the API of this data folder announced, or else that of the settings."""
    try:
        announcement = json.loads((settings.data_path / "run" / "api.json").read_bytes())
    except (OSError, ValueError):
        return http_url(settings.host, settings.port)
    return str(announcement["url"]).rstrip("/")
