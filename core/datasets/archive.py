"""ZIPs of recordings from strangers: looked at before anything is unpacked, unpacked one plain file at a time.

Names in an archive are labels: nothing is ever written where they point. What would be an attack (a bomb, a path
that leaves its folder, a link) refuses the whole archive; what merely cannot be used is skipped, each with a sentence.
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

from core.errors import BadArchive

MAX_MEMBERS: Final = 10_000
MAX_DIRECTORY_BYTES: Final = 4 << 20
"""Of the table of contents, which is read into memory as a whole."""
MAX_TOTAL_BYTES: Final = 8 << 30
MAX_MEMBER_BYTES: Final = 2 << 30
MAX_RATIO: Final = 50
"""Sound is packed to a half or a tenth; what shrinks more is no sound anyone could hear."""
RATIO_FROM_BYTES: Final = 1 << 20
"""Smaller members may shrink as they like."""
MAX_LIST_BYTES: Final = 4 << 20
MAX_SKIPPED: Final = 200
"""Sentences about skipped members; the rest is counted."""

SOUND_SUFFIXES: Final = frozenset(
    (
        *("wav", "wave", "flac", "mp3", "m4a", "mp4", "aac", "ogg", "oga", "opus", "webm", "wma", "aif", "aiff"),
        *("aifc", "caf", "au", "amr", "3gp", "mka", "mkv", "mov", "ape", "wv", "tta", "w64", "ac3"),
    )
)
LIST_SUFFIXES: Final = frozenset(("list", "txt"))
ENCRYPTED: Final = 0x1
UTF8_NAME: Final = 0x800
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PIECE: Final = 1 << 18
_END_OF_DIRECTORY: Final = b"PK\x05\x06"
_JUNK: Final = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive that may be unpacked."""

    name: str
    """As the archive has it, with slashes; a label, never a path."""
    size_bytes: int
    index: int
    """Its place in the table of contents."""


@dataclass(frozen=True, slots=True)
class Archive:
    """What an archive offers."""

    sounds: list[Member]
    lists: list[Member]
    """Transcripts: `path|speaker|language|text` a line."""
    skipped: list[dict[str, str]]
    """`{name, reason}` of every other member."""


def is_zip(path: Path) -> bool:
    """Whether the file begins as ZIP archives do."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", _END_OF_DIRECTORY)


def inspect(path: Path) -> Archive:
    """What is in it, from its table of contents alone. BadArchive for what is broken, hostile or too large."""
    with path.open("rb") as file:
        infos = _table(file, path.stat().st_size)
    sounds: list[Member] = []
    lists: list[Member] = []
    skipped = _Skipped()
    seen: set[str] = set()
    for index, info in enumerate(infos):
        name = _name(info)
        if info.is_dir():
            continue
        reason = _why_skipped(info, name, seen)
        seen.add(name.lower())
        if reason:
            skipped.add(name, reason)
        else:
            target = lists if _suffix(name) in LIST_SUFFIXES else sounds
            target.append(Member(name, info.file_size, index))
    if not sounds:
        first = f" {skipped.items[0]['name']}: {skipped.items[0]['reason']}" if skipped.items else ""
        raise BadArchive(f"There is no recording in the archive.{first}", hint="WAV, FLAC, MP3, M4A, Ogg work.")
    return Archive(sounds, lists, skipped.items)


def members(path: Path) -> list[Member]:
    """All plain files in it, of whatever kind; BadArchive as from `inspect`."""
    with path.open("rb") as file:
        infos = _table(file, path.stat().st_size)
    return [Member(_name(info), info.file_size, index) for index, info in enumerate(infos) if not info.is_dir()]


@contextmanager
def unpacking(path: Path) -> Iterator[Callable[[Member, Path], None]]:
    """What writes one member as a plain file; BadArchive when it is damaged or is not as large as it said."""
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        yield lambda member, destination: _unpack(archive, infos[member.index], member, destination)


def unpack(path: Path, member: Member, destination: Path) -> None:
    """One member of an archive; see `unpacking`, which opens it once for many."""
    with unpacking(path) as write:
        write(member, destination)


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, member: Member, destination: Path) -> None:
    written = 0
    try:
        with archive.open(info) as source, destination.open("wb") as output:
            while piece := source.read(_PIECE):
                written += len(piece)
                if written > member.size_bytes:
                    raise BadArchive(f"{shown(member.name)} is larger than the archive says.")
                output.write(piece)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BadArchive(f"{shown(member.name)} is damaged in the archive ({_first(error)}).") from error
    if written != member.size_bytes:
        raise BadArchive(f"{shown(member.name)} is smaller than the archive says.")


def shown(name: str) -> str:
    """A name from an archive, safe to show."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:200]


class _Skipped:
    """Sentences about what is not taken, a bounded number of them."""

    def __init__(self) -> None:
        self.items: list[dict[str, str]] = []
        self.more = 0

    def add(self, name: str, reason: str) -> None:
        if len(self.items) < MAX_SKIPPED:
            self.items.append({"name": shown(name), "reason": reason})
            return
        self.more += 1
        self.items[-1] = {"name": "…", "reason": f"And {self.more + 1} more members that are no recordings."}


def _table(file: IO[bytes], size: int) -> list[zipfile.ZipInfo]:
    """The table of contents, once it is known to be small and to add up."""
    _check_directory(file, size)
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, zipfile.LargeZipFile, ValueError, NotImplementedError, EOFError, struct.error) as error:
        raise BadArchive(
            f"The archive is damaged: {_first(error)}.", hint="Make it again and send it again."
        ) from error
    if len(infos) > MAX_MEMBERS:
        raise BadArchive(f"The archive has {len(infos)} members; {MAX_MEMBERS} is the most.", hint="Send several.")
    _check_sizes(infos, size)
    return infos


def _check_directory(file: IO[bytes], size: int) -> None:
    """How large the table of contents is, before the library reads all of it."""
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
    if place >= 20 and block[place - 20 : place - 16] == b"PK\x06\x07":  # the long form says it elsewhere
        file.seek(min(int.from_bytes(block[place - 12 : place - 4], "little"), size))
        head = file.read(56)
        length = int.from_bytes(head[40:48], "little") if head[:4] == b"PK\x06\x06" else length
    if length > MAX_DIRECTORY_BYTES:
        raise BadArchive(f"The archive's table of contents has {length >> 20} MiB.", hint="Send several archives.")
    file.seek(0)


def _check_sizes(infos: list[zipfile.ZipInfo], size: int) -> None:
    """Nothing that unpacks to far more than it is: by ratio, in all, or by members that share their bytes."""
    total = 0
    end = -1
    for info in sorted(infos, key=lambda one: one.header_offset):
        name = shown(info.filename)
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
    if total > MAX_TOTAL_BYTES:
        raise BadArchive(
            f"The archive would unpack to {total / 2**30:.1f} GiB; {MAX_TOTAL_BYTES >> 30} GiB is the most.",
            hint="Send several archives.",
        )


def _name(info: zipfile.ZipInfo) -> str:
    """The member's name with plain slashes; BadArchive for one that points out of the archive."""
    # zipfile cuts a name at its first NUL, and keeps what was there in orig_filename.
    name = _decoded(info).replace("\\", "/")
    if "\0" in name:
        raise BadArchive(f"{shown(name)} has a NUL in its name.", hint="Name the recordings plainly.")
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or parts[0][1:2] == ":":
        raise BadArchive(
            f"{shown(name)} points out of the archive.", hint="Pack the recordings with names inside their folder."
        )
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        raise BadArchive(f"{shown(name)} is a symbolic link.", hint="Pack the recordings themselves.")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BadArchive(f"{shown(name)} is no plain file.", hint="Pack the recordings themselves.")
    return name


def _decoded(info: zipfile.ZipInfo) -> str:
    """Archives made on Chinese Windows say nothing of their names' encoding; the library takes them for cp437."""
    if info.flag_bits & UTF8_NAME:
        return info.orig_filename
    raw = info.orig_filename.encode("cp437", "replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return info.orig_filename


def _why_skipped(info: zipfile.ZipInfo, name: str, seen: set[str]) -> str:
    """Empty for what may be unpacked."""
    last = name.rpartition("/")[2]
    if any(part in _JUNK for part in name.split("/")) or last.startswith("._"):
        return "It belongs to a file manager and is no recording."
    if name.lower() in seen:
        return "The archive has another member of this name; the first one is taken."
    if info.flag_bits & ENCRYPTED:
        return "It is encrypted; pack it without a password."
    if info.compress_type not in _METHODS:
        return "It is packed by a method other than deflate; pack it as a usual ZIP."
    if _suffix(name) in LIST_SUFFIXES:
        return "It is longer than a list of transcripts may be." if info.file_size > MAX_LIST_BYTES else ""
    if _suffix(name) not in SOUND_SUFFIXES:
        return "It is no recording, by its name."
    if info.file_size == 0:
        return "It is empty."
    return ""


def _suffix(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[2].lower()


def _first(error: Exception) -> str:
    return shown((str(error).splitlines() or [""])[0]) or type(error).__name__
