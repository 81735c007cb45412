"""Media types that depend on more than the demuxer."""

from __future__ import annotations

import pytest

from core.media.media_types import recording_media_type

MP4 = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2")
WEBM = ("matroska", "webm")


@pytest.mark.parametrize(
    ("demuxers", "head", "has_video", "media_type"),
    [
        (MP4, b"\0\0\0\x20ftypisom", False, "audio/mp4"),
        (MP4, b"\0\0\0\x20ftypM4A ", False, "audio/mp4"),
        (MP4, b"\0\0\0\x20ftypisom", True, "video/mp4"),
        (MP4, b"\0\0\0\x20ftypqt  ", True, "video/quicktime"),
        (MP4, b"\0\0\0\x20ftyp3gp4", True, "video/3gpp"),
        (WEBM, b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm", True, "video/webm"),
        (WEBM, b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x88matroska", True, "video/x-matroska"),
        (("asf",), b"", True, "video/x-ms-wmv"),
        (("unheard-of",), b"", False, "application/octet-stream"),
    ],
)
def test_a_picture_and_the_first_bytes_decide(
    demuxers: tuple[str, ...], head: bytes, has_video: bool, media_type: str
) -> None:
    assert recording_media_type(demuxers, head, has_video=has_video) == media_type
