"""The formats in which speech leaves the server."""

from __future__ import annotations

from typing import Final, Literal, get_args

AudioFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]

AUDIO_FORMATS: Final[tuple[AudioFormat, ...]] = get_args(AudioFormat)
MEDIA_TYPES: Final[dict[AudioFormat, str]] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg; codecs=opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
FILE_EXTENSIONS: Final[dict[AudioFormat, str]] = {
    audio_format: "ogg" if audio_format == "opus" else audio_format for audio_format in AUDIO_FORMATS
}
"""Without the dot. `opus` is Opus in an Ogg container."""
MIN_SAMPLE_RATE: Final = 8_000
MAX_SAMPLE_RATE: Final = 48_000
"""Hz that a request may ask for."""
