"""`main.py dub`: subtitles through the running API, into one audio file with every cue at its time."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, Final

from sovitsd_client import Sovitsd

from commands.server import connected
from commands.terminal import print_json
from common.files import write_atomically
from core.errors import InvalidRequest, SovitsError, TimedOut
from core.settings import Settings
from core.speech.cues import decode_subtitles

URL: Final = "/api/v1/inference/subtitles"
POLL_SECONDS: Final = 0.2


def dub(options: argparse.Namespace, settings: Settings) -> int:
    """Speak subtitles, write the file and print the cues that do not fit; return 1 where there are such."""
    output = Path(options.output)
    voices = {}
    for pair in options.speaker:
        speaker, separator, voice = pair.partition("=")
        if not separator or not speaker.strip() or not voice.strip():
            raise InvalidRequest(f"{pair!r} names no speaker and voice.", hint="Write --speaker Anna=allison.")
        voices[speaker.strip()] = voice.strip()
    try:
        subtitles = decode_subtitles(Path(options.subtitles).read_bytes())
    except OSError as error:
        raise InvalidRequest(f"{options.subtitles} cannot be read: {error.strerror}.") from None
    body: dict[str, object] = {
        "subtitles": subtitles,
        "voice": options.voice,
        "voices": voices,
        "min_speed": options.min_speed,
        "max_speed": options.max_speed,
        "format": output.suffix.removeprefix(".").lower() or "wav",
    }
    with connected(options, settings) as client:
        view = client.json("POST", URL, json=body)
        view = _finished(client, f"{URL}/{view['id']}")
        write_atomically(output, client.request("GET", f"{URL}/{view['id']}/audio").content)
    result = view["result"]
    if options.json:
        print_json({"output": str(output), **result})
        return 0 if result["fits"] == len(result["cues"]) else 1
    print(f"{output} ({result['seconds']:.1f} s, {result['fits']} of {len(result['cues'])} cues fit)")
    late = [cue for cue in result["cues"] if not cue["fits"]]
    for cue in late:
        print(f"{cue['start']:.2f}-{cue['end']:.2f} s is spoken until {cue['spoken_end']:.2f} s: {cue['text'][:60]}")
    return 1 if late else 0


def _finished(client: Sovitsd, path: str) -> dict[str, Any]:
    """Wait until subtitles are spoken and return them."""
    deadline = time.monotonic() + client.timeout
    while (view := client.json("GET", path))["status"] in ("queued", "running"):
        if time.monotonic() > deadline:
            raise TimedOut(
                f"The subtitles were not spoken after {client.timeout:g} s.", hint=f"GET {path} tells how far they are."
            )
        time.sleep(POLL_SECONDS)
    if view["status"] != "completed":
        raise SovitsError(f"The subtitles were not spoken: {view['error_message'] or view['status']}")
    return dict(view)
