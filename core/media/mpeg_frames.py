"""The frames of MPEG audio files (MP3, MP2): whether all of them are there, and what lies between and after them.

FFmpeg takes tags, padding and the header of a second file for damaged sound, and a file that ends within a frame for a
complete one. Frame headers: ISO/IEC 11172-3, section 2.4.1.3. Xing, Info and VBRI headers count the frames of a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Final

from core.media.piecewise_file import CorrectedFile, Piece, PiecewiseFile

MAX_MISSING_SECONDS: Final = 0.1
SEARCH_BYTES: Final = 1 << 16
MAX_TRAILING_BYTES: Final = 4096
"""Without a header that counts the frames, more than this after the last one may have been sound."""
_RATES: Final = (44_100, 48_000, 32_000)
_RATE_DIVISORS: Final = {3: 1, 2: 2, 0: 4}
_BITRATES: Final = {
    (3, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""kbit/s by version (3: MPEG-1, 2: MPEG-2 and 2.5) and layer; layers 2 and 3 of MPEG-2 have the same."""


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The header of one frame."""

    version: int
    layer: int
    rate: int
    mono: bool
    bytes: int
    samples: int

    @property
    def stream(self) -> tuple[int, int, int]:
        """What is the same for all frames of a file."""
        return self.version, self.layer, self.rate


@dataclass(slots=True)
class Section:
    """Frames of one file that follow each other."""

    stream: tuple[int, int, int]
    start: int
    """Of the first frame with sound."""
    end: int
    seconds_per_frame: float
    frames: int = 0
    counted_frames: int | None = None
    """By its Xing, Info or VBRI header."""
    counted_bytes: int | None = None
    header_start: int | None = None

    @property
    def missing_seconds(self) -> float:
        """Seconds by which it is shorter than its header says."""
        return ((self.counted_frames or 0) - self.frames) * self.seconds_per_frame

    @property
    def has_counted_bytes(self) -> bool:
        """Whether it is as large as its header says."""
        first = self.start if self.header_start is None else self.header_start
        return self.counted_bytes is not None and abs(self.end - first - self.counted_bytes) <= 1


def parse_header(head: bytes) -> FrameHeader | None:
    """Return the frame header at the start of some bytes, None where there is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bitrate_index, rate_index, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or bitrate_index in (0, 15) or rate_index == 3:
        return None
    table = _BITRATES[3, layer] if version == 3 else _BITRATES[2, min(layer, 2)]
    rate, bits = _RATES[rate_index] // _RATE_DIVISORS[version], table[bitrate_index - 1] * 1000
    if layer == 1:
        length, samples = (12 * bits // rate + padding) * 4, 384
    else:
        samples = 576 if layer == 3 and version != 3 else 1152
        length = samples // 8 * bits // rate + padding
    return FrameHeader(version, layer, rate, head[3] >> 6 == 3, length, samples)


def correct_mpeg(file: BinaryIO) -> CorrectedFile | None:
    """Return the frames of a file without what misleads a decoder; None for a file without frames that can be read."""
    scanner = _Scanner(file)
    scanner.scan()
    sections = scanner.sections
    if not sections:
        return None
    warnings: list[str] = []
    truncated = scanner.truncated
    for section in sections:
        if abs(section.missing_seconds) <= MAX_MISSING_SECONDS or section.counted_frames is None:
            continue
        if section.missing_seconds > 0 and not section.has_counted_bytes:
            truncated = True
        else:
            warnings.append(f"Its header gives {section.counted_frames:,} frames, and it has {section.frames:,}.")
    if truncated or scanner.damaged_at is not None:
        file.seek(0)
        return CorrectedFile(file, truncated=truncated, damaged_at=scanner.damaged_at)
    if len(sections) == 1:
        pieces: list[Piece] = [range(sections[0].end)]
    else:
        pieces = [range(section.start, section.end) for section in sections]
        if any(section.counted_frames is not None for section in sections):
            warnings.append(f"It consists of {len(sections)} recordings; its header gives the length of the first.")
    return CorrectedFile(PiecewiseFile(file, pieces), warnings, joints=len(sections) - 1)


class _Scanner:
    """Walks over a file from frame to frame."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size = file.seek(0, 2)
        self.sections: list[Section] = []
        self.truncated = False
        self.damaged_at: float | None = None
        self.seconds = 0.0
        self._joined = False
        """Whether the next frame continues the last section."""

    def scan(self) -> None:
        """Find all sections."""
        position = 0
        while position < self.size:
            head = self._read(position, 192)
            if skipped := self._tag_bytes(head, position):
                position += skipped
                self._joined = False
                continue
            frame = parse_header(head)
            if frame and self._is_frame(position, frame):
                if position + frame.bytes > self.size:
                    self.truncated = True
                    return
                self._add(position, frame, head)
                position += frame.bytes
                continue
            self._joined = False
            after_zeros = self._skip_zeros(position)
            if after_zeros > position:
                position = after_zeros
                continue
            following = self._find_frame(position + 1)
            if following is None:
                if self.size - position > MAX_TRAILING_BYTES and self.sections and not self.sections[-1].counted_frames:
                    self.damaged_at = self.seconds
                return
            if self.sections and self.damaged_at is None:
                self.damaged_at = self.seconds
            position = following

    def _read(self, position: int, length: int) -> bytes:
        self.file.seek(position)
        return self.file.read(length)

    def _is_frame(self, position: int, frame: FrameHeader) -> bool:
        """Return whether a header is that of a frame: it continues the last one, or another one follows it."""
        if self._joined and frame.stream == self.sections[-1].stream:
            return True
        following = position + frame.bytes
        if following >= self.size:
            return following == self.size
        head = self._read(following, 32)
        next_frame = parse_header(head)
        if next_frame is not None:
            return next_frame.stream == frame.stream
        return bool(self.sections) and (bool(self._tag_bytes(head, following)) or not any(head))

    def _add(self, position: int, frame: FrameHeader, head: bytes) -> None:
        counts = _read_counts(frame, head)
        seconds = frame.samples / frame.rate
        if counts is not None:
            end = position + frame.bytes
            self.sections.append(Section(frame.stream, end, end, seconds, 0, *counts, header_start=position))
        else:
            if not self._joined or frame.stream != self.sections[-1].stream:
                self.sections.append(Section(frame.stream, position, position, seconds))
            section = self.sections[-1]
            section.frames += 1
            section.end = position + frame.bytes
            self.seconds += seconds
        self._joined = True

    def _tag_bytes(self, head: bytes, position: int) -> int:
        """Return the length of a tag that begins at a position; 0 where there is none."""
        if head[:3] == b"ID3" and len(head) >= 10 and head[3] < 255 and all(byte < 128 for byte in head[6:10]):
            length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
            return 10 + length + (10 if head[5] & 0x10 else 0)
        if head[:4] == b"TAG+":
            return 227
        if head[:3] == b"TAG":
            return 128
        if head[:8] == b"APETAGEX" and len(head) >= 32:
            length = int.from_bytes(head[12:16], "little")
            return 32 + (length if int.from_bytes(head[20:24], "little") & 0x20000000 else 0)
        if head[:11] == b"LYRICSBEGIN":
            end = self._read(position, 1 << 16).find(b"LYRICS200")
            return end + 9 if end > 0 else 0
        return 0

    def _skip_zeros(self, position: int) -> int:
        while block := self._read(position, SEARCH_BYTES):
            rest = block.lstrip(b"\0")
            position += len(block) - len(rest)
            if rest:
                break
        return position

    def _find_frame(self, position: int) -> int | None:
        """Return the next position of two frames in a row."""
        while len(block := self._read(position, SEARCH_BYTES)) >= 4:
            index = block.find(b"\xff")
            while 0 <= index < len(block) - 3:
                frame = parse_header(block[index : index + 4])
                if frame:
                    following = parse_header(self._read(position + index + frame.bytes, 4))
                    if following and following.stream == frame.stream:
                        return position + index
                index = block.find(b"\xff", index + 1)
            position += len(block) - 3
        return None


def _read_counts(frame: FrameHeader, head: bytes) -> tuple[int | None, int | None] | None:
    """Return the frames and bytes that a Xing, Info or VBRI header gives; None for a frame with sound."""
    if frame.layer != 3:
        return None
    side = (17 if frame.mono else 32) if frame.version == 3 else (9 if frame.mono else 17)
    tag = head[4 + side : 4 + side + 16]
    if tag[:4] in (b"Xing", b"Info"):
        flags = int.from_bytes(tag[4:8], "big")
        frames = int.from_bytes(tag[8:12], "big") if flags & 1 else None
        position = 12 if flags & 1 else 8
        return frames, int.from_bytes(tag[position : position + 4], "big") if flags & 2 else None
    if head[36:40] == b"VBRI":
        return int.from_bytes(head[50:54], "big"), int.from_bytes(head[46:50], "big")
    return None
