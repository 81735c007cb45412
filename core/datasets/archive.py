"""ZIP archives as untrusted input: inspected before anything is extracted, extracted one plain file at a time.

Names in an archive are labels: nothing is ever written where they point. An attack (a bomb, a path that leaves its
folder, a link) rejects the whole archive; a member that merely cannot be used is skipped with a reason.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from core.datasets.transcripts import path_key
from core.errors import BadArchive
from core.records import SkippedFile

MAX_MEMBERS: Final = 10_000
MAX_DIRECTORY_BYTES: Final = 4 << 20
"""Of the central directory, which is read into memory as a whole."""
MAX_TOTAL_BYTES: Final = 8 << 30
MAX_MEMBER_BYTES: Final = 2 << 30
MAX_RATIO: Final = 50
"""Audio compresses to a half or a tenth; a member that shrinks more is not audible audio."""
RATIO_FROM_BYTES: Final = 1 << 20
"""Smaller members may have any ratio, but not all of them together."""
TOTAL_RATIO_FROM_BYTES: Final = 32 << 20
"""Archives that unpack to less may have any ratio."""
MAX_LIST_BYTES: Final = 4 << 20
MAX_SKIPPED: Final = 200
"""Skipped members that are named; the rest is counted."""

AUDIO_SUFFIXES: Final = frozenset(
    (
        *("wav", "wave", "flac", "mp3", "m4a", "mp4", "aac", "ogg", "oga", "opus", "webm", "wma", "aif", "aiff"),
        *("aifc", "caf", "au", "amr", "3gp", "mka", "mkv", "mov", "ape", "wv", "tta", "w64", "ac3"),
    )
)
LIST_SUFFIXES: Final = frozenset(("list", "txt"))
ENCRYPTED: Final = 0x1
UTF8_NAME: Final = 0x800
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_CHUNK_BYTES: Final = 1 << 18
_END_OF_DIRECTORY: Final = b"PK\x05\x06"
_JUNK: Final = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """A file in an archive that may be extracted."""

    name: str
    """As the archive has it, with slashes; a label, never a path."""
    size_bytes: int
    index: int
    """Its position in the central directory."""


@dataclass(frozen=True, slots=True)
class Archive:
    """The usable contents of an archive."""

    recordings: list[ArchiveMember]
    transcript_lists: list[ArchiveMember]
    """See `core.datasets.transcripts`."""
    skipped: list[SkippedFile]
    """All other members."""


def is_zip(path: Path) -> bool:
    """Return whether a file begins as ZIP archives do."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", _END_OF_DIRECTORY)


def inspect_archive(path: Path) -> Archive:
    """Return the contents of an archive of recordings, from its central directory alone.

    Raises: BadArchive for an archive that is damaged, hostile, too large or without a recording.
    """
    recordings: list[ArchiveMember] = []
    transcript_lists: list[ArchiveMember] = []
    skipped: list[SkippedFile] = []
    unnamed = 0
    seen: set[str] = set()
    for index, info in enumerate(_read_directory(path)):
        name = _member_name(info)
        if info.is_dir():
            continue
        reason = _reason_to_skip(info, name, seen)
        seen.add(path_key(name))
        if not reason:
            members = transcript_lists if _suffix(name) in LIST_SUFFIXES else recordings
            members.append(ArchiveMember(name, info.file_size, index))
        elif len(skipped) < MAX_SKIPPED:
            skipped.append({"name": printable_name(name), "reason": reason})
        else:
            unnamed += 1
            skipped[-1] = {"name": "…", "reason": f"And {unnamed + 1} more members that are no recordings."}
    if not recordings:
        first = f" {skipped[0]['name']}: {skipped[0]['reason']}" if skipped else ""
        raise BadArchive(f"There is no recording in the archive.{first}", hint="WAV, FLAC, MP3, M4A, Ogg work.")
    return Archive(recordings, transcript_lists, skipped)


def list_members(path: Path) -> list[ArchiveMember]:
    """Return all plain files of an archive, of whatever kind; raise BadArchive as `inspect_archive` does."""
    return [
        ArchiveMember(_member_name(info), info.file_size, index)
        for index, info in enumerate(_read_directory(path))
        if not info.is_dir()
    ]


@contextmanager
def open_archive(path: Path) -> Iterator[Callable[[ArchiveMember, Path], None]]:
    """Yield a function that extracts one member to a plain file.

    It raises BadArchive for a member that is damaged or does not have the declared size.
    """
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        yield lambda member, destination: _extract(archive, infos[member.index], member, destination)


def extract_member(path: Path, member: ArchiveMember, destination: Path) -> None:
    """Extract one member of an archive; see `open_archive`, which opens it once for many."""
    with open_archive(path) as extract:
        extract(member, destination)


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, member: ArchiveMember, destination: Path) -> None:
    written = 0
    try:
        with archive.open(info) as source, destination.open("wb") as output:
            while chunk := source.read(_CHUNK_BYTES):
                written += len(chunk)
                if written > member.size_bytes:
                    raise BadArchive(f"{printable_name(member.name)} is larger than the archive says.")
                output.write(chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BadArchive(f"{printable_name(member.name)} is damaged in the archive ({_first_line(error)}).") from error
    if written != member.size_bytes:
        raise BadArchive(f"{printable_name(member.name)} is smaller than the archive says.")


def printable_name(name: str) -> str:
    """Return a name from an archive that is safe to display."""
    return printable_text(name)[:200]


def printable_text(text: str) -> str:
    """Return a text with names from an archive that is safe to display."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _read_directory(path: Path) -> list[zipfile.ZipInfo]:
    """Return the entries of the central directory after checking that it is small and consistent."""
    size = path.stat().st_size
    with path.open("rb") as file:
        _check_directory_size(file, size)
        try:
            with zipfile.ZipFile(file) as archive:
                infos = archive.infolist()
        except (
            zipfile.BadZipFile,
            zipfile.LargeZipFile,
            ValueError,
            NotImplementedError,
            EOFError,
            struct.error,
        ) as error:
            raise BadArchive(
                f"The archive is damaged: {_first_line(error)}.", hint="Make it again and send it again."
            ) from error
    if len(infos) > MAX_MEMBERS:
        raise BadArchive(f"The archive has {len(infos)} members; {MAX_MEMBERS} is the most.", hint="Send several.")
    _check_member_sizes(infos, size)
    return infos


def _check_directory_size(file: IO[bytes], size: int) -> None:
    """Raise BadArchive for a large central directory, before the library reads all of it."""
    tail = min(size, 65_557)  # a comment may follow it
    file.seek(size - tail)
    block = file.read(tail)
    place = block.rfind(_END_OF_DIRECTORY)
    if place < 0 or len(block) - place < 22:
        raise BadArchive(
            "The archive is cut short or damaged: it has no table of contents at its end.",
            hint="Send the whole of it again.",
        )
    length = int.from_bytes(block[place + 12 : place + 16], "little")
    if place >= 20 and block[place - 20 : place - 16] == b"PK\x06\x07":  # ZIP64
        file.seek(min(int.from_bytes(block[place - 12 : place - 4], "little"), size))
        head = file.read(56)
        length = int.from_bytes(head[40:48], "little") if head[:4] == b"PK\x06\x06" else length
    if length > MAX_DIRECTORY_BYTES:
        raise BadArchive(f"The archive's table of contents has {length >> 20} MiB.", hint="Send several archives.")
    file.seek(0)


def _check_member_sizes(infos: list[zipfile.ZipInfo], size: int) -> None:
    """Raise BadArchive for a ZIP bomb: by ratio, by total size, or by members that share their bytes."""
    total = 0
    end = -1
    for info in sorted(infos, key=lambda info: info.header_offset):
        name = printable_name(info.filename)
        if info.file_size > MAX_MEMBER_BYTES:
            raise BadArchive(f"{name} is larger than {MAX_MEMBER_BYTES >> 30} GiB.", hint="Cut it into parts.")
        if info.file_size > max(RATIO_FROM_BYTES, info.compress_size * MAX_RATIO):
            raise BadArchive(
                f"{name} would unpack to {info.file_size / max(1, info.compress_size):.0f} times its size.",
                hint=f"Sound never shrinks more than {MAX_RATIO} times; was it silence, or a bomb?",
            )
        if info.header_offset < end or info.header_offset + info.compress_size > size:
            raise BadArchive(f"{name} shares its bytes with another member, or lies outside the archive.")
        end = info.header_offset + 30 + info.compress_size if info.file_size else info.header_offset
        total += info.file_size
    if total > max(TOTAL_RATIO_FROM_BYTES, size * MAX_RATIO):
        raise BadArchive(
            f"The archive would unpack to {total / size:.0f} times its size.",
            hint=f"Sound never shrinks more than {MAX_RATIO} times; was it silence, or a bomb?",
        )
    if total > MAX_TOTAL_BYTES:
        raise BadArchive(
            f"The archive would unpack to {total / 2**30:.1f} GiB; {MAX_TOTAL_BYTES >> 30} GiB is the most.",
            hint="Send several archives.",
        )


def _member_name(info: zipfile.ZipInfo) -> str:
    """Return a member's name with plain slashes; raise BadArchive for a path out of the archive, a link or a device."""
    # zipfile cuts a name at its first NUL, and keeps what was there in orig_filename.
    name = _decode_name(info).replace("\\", "/")
    if "\0" in name:
        raise BadArchive(f"{printable_name(name)} has a NUL in its name.", hint="Name the recordings plainly.")
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or parts[0][1:2] == ":":
        raise BadArchive(
            f"{printable_name(name)} points out of the archive.",
            hint="Pack the recordings with names inside their folder.",
        )
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        raise BadArchive(f"{printable_name(name)} is a symbolic link.", hint="Pack the recordings themselves.")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BadArchive(f"{printable_name(name)} is no plain file.", hint="Pack the recordings themselves.")
    return name


def _decode_name(info: zipfile.ZipInfo) -> str:
    """Return a name in its own encoding, which Chinese Windows does not declare; zipfile then assumes cp437."""
    if info.flag_bits & UTF8_NAME:
        return info.orig_filename
    raw = info.orig_filename.encode("cp437", "replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return info.orig_filename


def _reason_to_skip(info: zipfile.ZipInfo, name: str, seen: set[str]) -> str:
    """Return why a member cannot be used; empty for one that can."""
    last = name.rpartition("/")[2]
    if any(part in _JUNK for part in name.split("/")) or last.startswith("._"):
        return "It belongs to a file manager and is no recording."
    if path_key(name) in seen:
        return "The archive has another member of this name; the first one is taken."
    if info.flag_bits & ENCRYPTED:
        return "It is encrypted; pack it without a password."
    if info.compress_type not in _METHODS:
        return "It is packed by a method other than deflate; pack it as a usual ZIP."
    if _suffix(name) in LIST_SUFFIXES:
        return "It is longer than a list of transcripts may be." if info.file_size > MAX_LIST_BYTES else ""
    if _suffix(name) not in AUDIO_SUFFIXES:
        return "It is no recording, by its name."
    if info.file_size == 0:
        return "It is empty."
    return ""


def _suffix(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[2].lower()


def _first_line(error: Exception) -> str:
    return printable_name((str(error).splitlines() or [""])[0]) or type(error).__name__
