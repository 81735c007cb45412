"""Lengths in WAV files: streaming writers leave placeholders in the header, and others forget to update it.

The lengths of RIFF, RIFX, RF64 and BW64 files are compared with the file. A wrong one is corrected where the recording
is complete all the same; a file that its header describes consistently and that ends early is truncated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

from core.media.piecewise_file import CorrectedFile, Piece, PiecewiseFile

HEADER_TOLERANCE: Final = 64
"""Bytes. Some writers count the header as sound, or do not count it where they should."""
CONTRADICTION: Final = 256
"""Bytes by which the length of a file must be too small for its data before one of the two is a placeholder."""
MAX_PLAUSIBLE_SECONDS: Final = 12 * 3600.0
ROUND: Final = 1 << 24
"""Placeholders are multiples of it, or the largest length that still leaves place for a header."""
DECIMAL_PLACEHOLDER: Final = 1_000_000_000
UNKNOWN: Final = 0xFFFFFFFF
_WAVE_MAGICS: Final = (b"RIFF", b"RIFX", b"RF64", b"BW64")
_UNCOMPRESSED: Final = (1, 3, 0xFFFE)


@dataclass(slots=True)
class WavHeader:
    """What the header of a WAV file says, up to its data."""

    byte_order: Literal["little", "big"]
    is_64_bit: bool
    start: int
    """Position of the header in the file."""
    riff_length: int = 0
    data_start: int = 0
    data_length: int = 0
    sizes_start: int = 0
    """Position of the content of the ds64 chunk; 0 without one."""
    format: bytes = b""
    block_bytes: int = 1
    bytes_per_second: int = 0
    uncompressed: bool = True

    @property
    def riff_end(self) -> int:
        """Where the file ends by its own length."""
        return self.start + 8 + self.riff_length

    @property
    def data_end(self) -> int:
        """Where the sound ends by its own length."""
        return self.data_start + self.data_length


def correct_wav(file: BinaryIO) -> CorrectedFile | None:
    """Return a WAV file with the lengths it should have; None for a file that is no WAV."""
    size = file.seek(0, 2)
    header = _read_header(file, 0, size)
    if header is None:
        return None
    available = size - header.data_start
    length, warnings, truncated = header.data_length, [], False
    if header.data_length > available:
        length = available
        truncated = not _is_wrong_length(header, size)
    elif (header.data_length == 0 or abs(header.riff_end - size) <= 1) and not _are_chunks(file, header.data_end, size):
        length = available
    if length != header.data_length and not truncated:
        length -= length % header.block_bytes
        warnings.append(
            f"Its header gives {header.data_length:,} bytes of sound, and there are {length:,}; all of them are used."
        )
    elif header.riff_end > size + 8:
        warnings.append(f"Its header gives {header.riff_end:,} bytes, and it has {size:,}; its sound is complete.")
    if truncated:
        return CorrectedFile(file, truncated=True)
    sounds = [range(header.data_start, header.data_start + length)]
    if header.data_length and length == header.data_length:
        sounds += _following_sounds(file, header, size, warnings)
    if not warnings:
        file.seek(0)
        return CorrectedFile(file)
    return CorrectedFile(PiecewiseFile(file, _corrected_pieces(header, sounds)), warnings)


def _read_header(file: BinaryIO, start: int, size: int) -> WavHeader | None:
    file.seek(start)
    head = file.read(12)
    if head[:4] not in _WAVE_MAGICS or head[8:] != b"WAVE":
        return None
    order: Literal["little", "big"] = "big" if head[:4] == b"RIFX" else "little"
    header = WavHeader(order, head[:4] in (b"RF64", b"BW64"), start, int.from_bytes(head[4:8], order))
    data_length_64 = 0
    while len(chunk := file.read(8)) == 8:
        length, content = int.from_bytes(chunk[4:], order), file.tell()
        if chunk[:4] == b"data":
            in_sizes = header.sizes_start and length == UNKNOWN
            header.data_start, header.data_length = content, data_length_64 if in_sizes else length
            return header
        if chunk[:4] == b"ds64" and header.is_64_bit:
            sizes = file.read(16)
            header.sizes_start, header.riff_length = content, int.from_bytes(sizes[:8], "little")
            data_length_64 = int.from_bytes(sizes[8:], "little")
        elif chunk[:4] == b"fmt ":
            header.format = file.read(min(length, 64))
            header.block_bytes = max(1, int.from_bytes(header.format[12:14], order))
            header.bytes_per_second = int.from_bytes(header.format[8:12], order)
            header.uncompressed = int.from_bytes(header.format[:2], order) in _UNCOMPRESSED
        if content + length > size:
            return None
        file.seek(content + length + length % 2)
    return None


def _is_wrong_length(header: WavHeader, size: int) -> bool:
    """Return whether a data length above what the file has is no sign that its end is missing."""
    length = header.data_length
    return (
        header.data_end - size <= HEADER_TOLERANCE
        or abs(header.riff_end - size) <= 1
        or header.riff_end + CONTRADICTION < header.data_end
        or (header.uncompressed and length % header.block_bytes != 0)
        or (header.bytes_per_second > 0 and length > MAX_PLAUSIBLE_SECONDS * header.bytes_per_second)
        or any(map(_is_placeholder, (length, header.data_end, header.riff_length, header.riff_end)))
    )


def _is_placeholder(length: int) -> bool:
    """Return whether a length is a round number or the last one before it, less a header."""
    if length >= DECIMAL_PLACEHOLDER and length % 1_000_000 == 0:
        return True
    return length >= ROUND and min(-length % ROUND, length % ROUND) <= CONTRADICTION


def _are_chunks(file: BinaryIO, position: int, size: int) -> bool:
    """Return whether nothing but chunks, padding or tags of other formats lies between a position and the end."""
    while position < size:
        file.seek(position)
        head = file.read(8)
        name = head[:4]
        if name[:3] in (b"ID3", b"TAG") or name in _WAVE_MAGICS:
            return True
        if len(head) < 8 or not any(head):
            return _is_zero(file, position)
        if not all(32 <= letter < 127 for letter in name):
            if position % 2 and position + 1 < size:  # a writer that did not pad
                return False
            position += 1
            continue
        length = int.from_bytes(head[4:], "little")
        if position + 8 + length > size + 1:
            return False
        position += 8 + length + length % 2
    return True


def _is_zero(file: BinaryIO, position: int) -> bool:
    file.seek(position)
    while block := file.read(1 << 20):
        if any(block):
            return False
    return True


def _following_sounds(file: BinaryIO, first: WavHeader, size: int, warnings: list[str]) -> list[range]:
    """Return the data of WAV files of the same format that follow the first one in the same file."""
    sounds: list[range] = []
    end = max(first.riff_end, first.data_end)
    while end + 12 <= size:
        header = _read_header(file, end, size)
        if header is None or header.data_end > size:
            break
        if header.format != first.format or header.byte_order != first.byte_order:
            warnings.append("Another WAV file of another format follows in it, which is not used.")
            break
        sounds.append(range(header.data_start, header.data_end))
        end = max(header.riff_end, header.data_end)
    if sounds:
        warnings.append(f"It consists of {1 + len(sounds)} WAV files; its header gives the length of the first.")
    return sounds


def _corrected_pieces(header: WavHeader, sounds: list[range]) -> list[Piece]:
    total = sum(map(len, sounds))
    riff_length = header.data_start - 8 + total
    order = header.byte_order
    if header.is_64_bit and header.sizes_start:
        sizes = riff_length.to_bytes(8, "little") + total.to_bytes(8, "little")
        between: list[Piece] = [
            range(8, header.sizes_start),
            sizes,
            range(header.sizes_start + 16, header.data_start - 4),
        ]
        lengths = [UNKNOWN, UNKNOWN]
    else:
        between = [range(8, header.data_start - 4)]
        lengths = [min(riff_length, UNKNOWN), min(total, UNKNOWN)]
    magic: Piece = b"RIFF" if header.is_64_bit and not header.sizes_start else range(4)
    return [magic, lengths[0].to_bytes(4, order), *between, lengths[1].to_bytes(4, order), *sounds]
