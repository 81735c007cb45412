"""The media type of a recording by its container, whatever its sender calls it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

HEAD_BYTES: Final = 64
"""How much of the beginning of a file decides between the formats that one demuxer reads."""
_BY_DEMUXER: Final = {
    "aac": "audio/aac",
    "ac3": "audio/ac3",
    "aiff": "audio/aiff",
    "amr": "audio/amr",
    "ape": "audio/x-ape",
    "asf": "audio/x-ms-wma",
    "au": "audio/basic",
    "avi": "video/x-msvideo",
    "caf": "audio/x-caf",
    "dsf": "audio/x-dsf",
    "eac3": "audio/eac3",
    "flac": "audio/flac",
    "flv": "video/x-flv",
    "matroska": "audio/x-matroska",
    "mov": "audio/mp4",
    "mp3": "audio/mpeg",
    "mpeg": "video/mpeg",
    "mpegts": "video/mp2t",
    "ogg": "audio/ogg",
    "tta": "audio/x-tta",
    "w64": "audio/x-w64",
    "wav": "audio/wav",
    "wv": "audio/x-wavpack",
}
"""FFmpeg's name of a demuxer → media type of a file with sound alone."""
_OF_VIDEOS: Final = {"audio/x-ms-wma": "video/x-ms-wmv"}
"""Where the type of a file with a picture is not `video/` and the same name."""


def recording_media_type(demuxers: Collection[str], head: bytes, *, has_video: bool) -> str:
    """Return the media type of a file.

    Args:
        demuxers: FFmpeg's names of the demuxer that reads it.
        head: the first `HEAD_BYTES` of the file.
        has_video: whether it has moving pictures; a cover is none.
    """
    media_type = next((_BY_DEMUXER[name] for name in demuxers if name in _BY_DEMUXER), "application/octet-stream")
    if media_type == "audio/x-matroska" and b"webm" in head:
        media_type = "audio/webm"
    brand = head[8:12]
    if media_type == "audio/mp4" and brand == b"qt  ":
        return "video/quicktime"
    if media_type == "audio/mp4" and brand[:2] == b"3g":
        media_type = "audio/3gpp"
    if has_video and media_type.startswith("audio/"):
        return _OF_VIDEOS.get(media_type, media_type.replace("audio/", "video/"))
    return media_type
