"""The formats in which speech leaves the server."""

from __future__ import annotations

from typing import Final, Literal, get_args

AudioFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]

TelephonyFormat = Literal["pcm_mulaw", "pcm_alaw"]
"""G.711 samples at 8 kHz without a header."""
StreamFormat = Literal[AudioFormat, TelephonyFormat]
"""The formats in which speech is streamed; files have one of AudioFormat."""

AUDIO_FORMATS: Final[tuple[AudioFormat, ...]] = get_args(AudioFormat)
TELEPHONY_FORMATS: Final[tuple[TelephonyFormat, ...]] = get_args(TelephonyFormat)
MEDIA_TYPES: Final[dict[StreamFormat, str]] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg; codecs=opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "pcm_mulaw": "audio/PCMU; rate=8000",
    "pcm_alaw": "audio/PCMA; rate=8000",
}
FILE_EXTENSIONS: Final[dict[AudioFormat, str]] = {
    audio_format: "ogg" if audio_format == "opus" else audio_format for audio_format in AUDIO_FORMATS
}
"""Without the dot. `opus` is Opus in an Ogg container."""
MIN_SAMPLE_RATE: Final = 8_000
MAX_SAMPLE_RATE: Final = 48_000
"""Hz that a request may ask for."""
TELEPHONY_RATE: Final = 8_000
OPUS_RATE: Final = 48_000
_ENCODED_RATES: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Of the compressed formats."""


def encoded_rate(audio_format: str, sample_rate: int) -> int:
    """Return the rate in Hz at which a format carries samples of this rate."""
    if audio_format in TELEPHONY_FORMATS:
        return TELEPHONY_RATE
    if audio_format in ("pcm", "wav") or (audio_format != "opus" and sample_rate in _ENCODED_RATES):
        return sample_rate
    return OPUS_RATE
