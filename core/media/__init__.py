"""Audio files: untrusted ones are decoded in a limited child process; our own speech is encoded."""

from core.media.decode import (
    MAX_SECONDS,
    MIN_UPLOAD_SECONDS,
    AudioInfo,
    RecordingLevels,
    check_recording,
    decode,
    probe,
)

__all__ = [
    "MAX_SECONDS",
    "MIN_UPLOAD_SECONDS",
    "AudioInfo",
    "RecordingLevels",
    "check_recording",
    "decode",
    "probe",
]
