"""`main.py speak`: a text through the API, into a file or a loudspeaker, and its subtitles into another file."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from sovitsd_client import Sovitsd

from commands.server import connected
from commands.terminal import print_json
from common.files import write_atomically
from core.errors import EmptyText, InvalidRequest, MissingPart, SovitsError
from core.settings import Settings
from core.speech.subtitles import SUBTITLE_FORMATS

PLAYERS: Final = (
    ("pacat", "--rate={rate}", "--format=s16le", "--channels=1"),
    ("aplay", "-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", "{rate}", "-"),
    ("play", "-q", "-t", "raw", "-e", "signed", "-b", "16", "-c", "1", "-r", "{rate}", "-"),
    ("ffplay", "-loglevel", "error", "-nodisp", "-autoexit", "-f", "s16le", "-ar", "{rate}", "-i", "-"),
)
"""Programs that play 16-bit samples from standard input; the first that is installed does."""
LEVELS: Final = ("loudness", "true_peak", "trim_silence")
"""Options that say how loud the speech is."""
PLAYED_RATE: Final = 24_000
"""Hz of what is played: any sound card takes it."""


def speak(options: argparse.Namespace, settings: Settings) -> int:
    """Synthesize a text and write or play it; return the exit code.

    Raises SovitsError with the API's own message, and NotReady when it does not respond.
    """
    text = sys.stdin.read() if options.stdin or options.text == "-" else options.text
    if not text or not text.strip():
        raise EmptyText("There is no text to speak.", hint='Name one: speak "Good morning.", or pipe it: --stdin.')
    if options.subtitles and _subtitle_format(options.subtitles) not in SUBTITLE_FORMATS:
        raise InvalidRequest(
            f"Subtitles cannot be written as {options.subtitles}.",
            hint=f"End the name in .{', .'.join(SUBTITLE_FORMATS)}.",
        )
    chosen: dict[str, Any] = {"language": options.language or None, "speed": options.speed, "seed": options.seed}
    chosen |= {name: getattr(options, name) for name in LEVELS if getattr(options, name) is not None}
    written: dict[str, str | int] = {}
    with connected(options, settings) as client:
        if options.play:
            _play(client, text, options.voice, chosen)
        if not options.play or options.output:
            output = Path(options.output or "speech.wav")
            audio_format = output.suffix.removeprefix(".").lower() or "wav"
            if options.subtitles:
                audio, subtitles = _speak_with_subtitles(client, text, options, audio_format, chosen)
                write_atomically(Path(options.subtitles), subtitles.encode())
                written["subtitles"] = options.subtitles
            else:
                audio = client.speech.create(text, options.voice, format=audio_format, **chosen)
            write_atomically(output, audio)
            written |= {"output": str(output), "bytes": len(audio)}
    if options.json:
        print_json(written)
    elif written:
        if "subtitles" in written:
            print(written["subtitles"])
        print(f"{written['output']} ({written['bytes']} bytes)")
    return 0


def _speak_with_subtitles(
    client: Sovitsd, text: str, options: argparse.Namespace, audio_format: str, chosen: dict[str, Any]
) -> tuple[bytes, str]:
    """Return the audio and the subtitles of an inference."""
    inference = client.inference.create(text, options.voice, format=audio_format, **chosen)
    inference = client.inference.wait(inference.id, client.timeout)
    if inference.status != "completed":
        raise SovitsError(f"The text was not spoken: {inference.error_message or inference.status}")
    subtitles = client.inference.subtitles(
        inference.id, _subtitle_format(options.subtitles), max_line_characters=options.max_line_characters
    )
    return client.inference.audio(inference.id), subtitles


def _subtitle_format(name: str) -> str:
    return Path(name).suffix.removeprefix(".").lower()


def _play(client: Sovitsd, text: str, voice: str, chosen: dict[str, Any]) -> None:
    """Play a text while it is generated; raise MissingPart without a program that can."""
    command = next((player for player in PLAYERS if shutil.which(player[0])), None)
    if command is None:
        names = ", ".join(player[0] for player in PLAYERS)
        raise MissingPart(
            f"No program that plays audio is installed ({names}).", hint="Install one, or write a file: --output."
        )
    with client.speech.stream(text, voice, format="pcm", sample_rate=PLAYED_RATE, **chosen) as audio:
        _send_to_player([part.format(rate=audio.sample_rate or PLAYED_RATE) for part in command], audio)


def _send_to_player(command: list[str], audio: Iterable[bytes]) -> None:
    with subprocess.Popen(command, stdin=subprocess.PIPE) as player:
        assert player.stdin is not None
        try:
            for chunk in audio:
                player.stdin.write(chunk)
            player.stdin.close()
        except BrokenPipeError:
            player.terminate()
    if player.returncode:
        raise SovitsError(f"{command[0]} could not play the speech (exit code {player.returncode}).")
