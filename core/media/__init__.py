"""Sound files of strangers: looked at and decoded by a limited child; and encoding of our own sound."""

from core.media.decode import (
    MAX_SECONDS,
    SHORTEST_UPLOAD,
    RecordingReport,
    SoundInfo,
    check_recording,
    decode,
    probe,
)

__all__ = [
    "MAX_SECONDS",
    "SHORTEST_UPLOAD",
    "RecordingReport",
    "SoundInfo",
    "check_recording",
    "decode",
    "probe",
]
