"""Read torch's zip files, whatever their first two bytes, without running what they hold; write them atomically.

The files are untrusted, so torch's own reader never sees them. The pickle inside is scanned opcode by opcode; then
torch parses that pickle alone (`weights_only=True`, unknown classes by inert stand-ins) in an archive without weights,
and every tensor is checked against the record that it names before it is mapped.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from common.files import atomic_path
from GPT_SoVITS.errors import ModelError

HEADERS = (b"PK", b"00", b"01", b"02", b"03", b"04", b"05", b"06")
"""First two bytes of official files: `PK`, or a version mark written over it (s2-sovits §2.1)."""
MAX_PICKLE_BYTES = 8 << 20
"""Bytes of names, shapes and settings; official files have some 100 KiB, a resume file with its optimizer 1 MiB."""
FOREIGN_HEADERS = {
    b"": "is empty",
    b"ve": "is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`",
    b"<!": "is a web page",
    b"<h": "is a web page",
    b"\x1f\x8b": "is packed with gzip",
    b"7z": "is a 7z archive: unpack it first",
    b"Ra": "is a RAR archive: unpack it first",
    b"RI": "is a RIFF file, such as a WAV recording",
    b"GG": "is a GGUF file",
    b"\x80\x02": "is a bare pickle or in torch's format from before 1.6: save it anew with a current torch",
}


class HParams:
    """Stands in for the official configuration class (`utils.HParams`): holds attributes and does nothing."""

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise TypeError(f"the settings are a {type(state).__name__}, not a mapping")
        self.__dict__.update(state)


def _path(*parts: object) -> str:
    """Stand in for the path classes: return the path as text."""
    return "/".join(str(part) for part in parts)


_STAND_INS: dict[str, Callable[..., Any]] = {
    "utils.HParams": HParams,
    **dict.fromkeys(
        (f"pathlib.{name}" for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")), _path
    ),
    # What Lightning keeps the hyper-parameters of a resumable s1 file in.
    "pytorch_lightning.utilities.parsing.AttributeDict": dict,
    "lightning_fabric.utilities.data.AttributeDict": dict,
    "lightning.fabric.utilities.data.AttributeDict": dict,
}
_STORAGES = ("Half", "Float", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
_ALLOWED = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    *(f"torch.{name}Storage" for name in _STORAGES),
    *_STAND_INS,
}
"""All that the pickle of weights and settings may import. Torch's own list is longer, and can be made to allocate."""
_SAFE_GLOBALS = threading.Lock()
"""Torch keeps the list of stand-ins for the whole process, and its context manager empties it."""


@dataclass(frozen=True, slots=True)
class _Record:
    """A stored entry of an archive."""

    offset: int
    """Of its first byte in the file."""
    size: int


class TorchArchive:
    """An open file: `content` has tensors with shapes but without values, until `map_tensors` maps them."""

    def __init__(self, path: Path, header: bytes, records: dict[str, _Record]) -> None:
        self.path = path
        self.header = header
        """The first two bytes."""
        self._records = records
        self._tensors: dict[int, _Record] = {}
        self.content = self._parse()
        """The saved object; its tensors are on the meta device."""

    def map_tensors(self, mapping: object) -> dict[str, Tensor]:
        """Return a name → tensor mapping of the content with its values, mapped from the file, private to the caller.

        Raises:
            ModelError: "bad_checkpoint" when it is no such mapping, or the file does not hold the values.
        """
        if not isinstance(mapping, dict) or not mapping:
            raise _bad(self.path, "has no weights where they belong")
        for name, tensor in mapping.items():
            if not isinstance(name, str) or not isinstance(tensor, Tensor):
                raise _bad(self.path, f"holds a {type(tensor).__name__} among its weights, named {str(name)[:80]!r}")
        return {name: self._map_tensor(name, tensor) for name, tensor in mapping.items()}

    @cached_property
    def _bytes(self) -> torch.UntypedStorage:
        size = self.path.stat().st_size
        return torch.from_file(str(self.path), shared=False, size=size, dtype=torch.uint8).untyped_storage()

    def _map_tensor(self, name: str, tensor: Tensor) -> Tensor:
        """Map one tensor, once its record is known to hold all of its values."""
        offset = tensor.untyped_storage()._checkpoint_offset
        record = None if offset is None else self._tensors.get(offset)
        if record is None:
            raise _bad(self.path, f"names a storage for {name} that it does not hold")
        width = tensor.dtype.itemsize
        last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
        end = (tensor.storage_offset() + last + 1) * width if tensor.numel() else 0
        if max(end, tensor.numel() * width) > record.size:
            raise _bad(self.path, f"holds {record.size} bytes for {name}, whose shape is {list(tensor.shape)}")
        storage = self._bytes[record.offset : record.offset + record.size]
        if record.offset % width:  # torch aligns what it writes; other writers need not
            storage = storage.clone()
        return torch.empty(0, dtype=tensor.dtype).set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())

    def _parse(self) -> Any:
        """Unpickle the content without its tensors' values, once nothing in it is known to be harmful."""
        pickled = self._read("data.pkl")
        unknown = [name for name in imported_globals(pickled, self.path) if name not in _ALLOWED]
        if unknown:
            shown = ", ".join(ascii(name)[1:-1][:80] for name in dict.fromkeys(unknown[:8]))
            raise ModelError(
                "unsafe_checkpoint",
                f"{self.path.name} asks for {shown}, and weights with settings need nothing of the kind; "
                "it was not opened.",
                hint="If you trust its author, ask for a file of weights alone.",
            )
        if not pickled.startswith(b"\x80\x02"):
            raise _bad(self.path, "is not pickled in protocol 2, the one that torch writes")
        if "byteorder" in self._records and self._read("byteorder").strip() != b"little":
            raise _bad(self.path, "was written on a big-endian machine")
        try:
            with _SAFE_GLOBALS, torch.serialization.safe_globals([(value, name) for name, value in _STAND_INS.items()]):
                return torch.load(self._without_weights(pickled), map_location="meta", weights_only=True)
        except pickle.UnpicklingError as error:
            message = f"{self.path.name} holds more than weights and settings, so it was not opened: {_first(error)}"
            raise ModelError("unsafe_checkpoint", message) from error
        except Exception as error:  # scrambled bytes make an unpickler raise whatever they hit first
            raise _bad(self.path, f"is damaged: {_first(error)}") from error

    def _without_weights(self, pickled: bytes) -> io.BytesIO:
        """Return the same archive with empty storages; an offset in it leads to the record in the file."""
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(zipfile.ZipInfo("archive/data.pkl"), pickled)
            archive.writestr(zipfile.ZipInfo("archive/version"), b"3\n")
            for name, record in self._records.items():
                if name.startswith("data/"):
                    archive.writestr(zipfile.ZipInfo(f"archive/{name}"), b"")
                    self._tensors[stream.tell()] = record
        stream.seek(0)
        return stream

    def _read(self, name: str) -> bytes:
        record = self._records[name]
        if record.size > MAX_PICKLE_BYTES:
            raise _bad(self.path, f"holds {record.size >> 20} MiB of {name}; {MAX_PICKLE_BYTES >> 20} MiB is plenty")
        with self.path.open("rb") as file:
            file.seek(record.offset)
            return file.read(record.size)


def open_archive(path: Path) -> TorchArchive:
    """Open a file that torch saved.

    Raises:
        ModelError: "no_checkpoint", "bad_checkpoint" or "unsafe_checkpoint".
    """
    header = read_header(path)
    if header not in HEADERS:
        raise _bad(path, describe_foreign(header) or f"begins with {header!r}, which no official checkpoint does")
    with path.open("rb") as file:
        records = dict(_records(path, file))
    return TorchArchive(path, header, records)


def read_header(path: Path) -> bytes:
    """Return the first two bytes, fewer of a shorter file. Raises ModelError("no_checkpoint")."""
    try:
        with path.open("rb") as file:
            return file.read(2)
    except OSError as error:
        raise ModelError("no_checkpoint", f"There is no checkpoint at {path}: {error.strerror or error}.") from error


def describe_foreign(header: bytes) -> str:
    """Return what a file of another kind is that begins so, as a predicate of its name; empty where unknown."""
    return FOREIGN_HEADERS.get(header, "")


def write_archive(path: Path, content: object, header: bytes = b"PK") -> None:
    """Save as torch does, with `header` over the first two bytes; HParams go by their official name.

    `path` holds the old file or the whole new one, never a part. Equal content gives equal bytes.
    """
    with atomic_path(path, durable=True) as temporary, temporary.open("w+b") as file:
        torch.save(content, file, pickle_module=_OfficialPickle)
        file.seek(0)
        file.write(header)


def imported_globals(pickled: bytes, path: Path) -> list[str]:
    """List every name that the pickle would import, in order, from its opcodes alone.

    Raises:
        ModelError: "bad_checkpoint" for a damaged pickle.
    """
    names: list[str] = []
    memo: dict[int, str] = {}
    pushed = ["?", "?"]  # the last two values; STACK_GLOBAL takes its module and name from there
    try:
        for opcode, argument, _ in pickletools.genops(pickled):
            if opcode.name in ("GLOBAL", "INST"):
                names.append(str(argument).replace(" ", ".", 1))
            elif opcode.name == "STACK_GLOBAL":
                names.append(".".join(pushed[-2:]))
            elif opcode.name.startswith("EXT"):
                names.append(f"copyreg extension {argument}")
            if "PUT" in opcode.name or opcode.name == "MEMOIZE":
                memo[len(memo) if argument is None else int(str(argument))] = pushed[-1]
            elif opcode.stack_after:
                value = memo.get(int(str(argument)), "?") if "GET" in opcode.name else argument
                pushed = [pushed[-1], value if isinstance(value, str) else "?"]
    except Exception as error:  # pickletools raises what the scrambled argument happens to cause
        raise _bad(path, f"is damaged: {_first(error)}") from error
    return names


def _records(path: Path, file: IO[bytes]) -> Iterator[tuple[str, _Record]]:
    """Yield (name below the archive's one folder, record) of every entry, once it is known to be plain and inside."""
    end = path.stat().st_size
    try:
        entries = zipfile.ZipFile(file).infolist()
    except zipfile.BadZipFile as error:
        raise _bad(path, "is cut short or damaged: it has no table of contents at its end") from error
    except Exception as error:  # a scrambled table of contents makes zipfile raise what it hits first
        raise _bad(path, f"is damaged: {_first(error)}") from error
    folders = {entry.filename.partition("/")[0] for entry in entries}
    names = [entry.filename.partition("/")[2] for entry in entries]
    if "data.pkl" not in names:
        raise _bad(path, "is a zip archive, but none that torch wrote: it has no data.pkl")
    if len(folders) != 1 or len(set(names)) != len(names):
        raise _bad(path, "holds entries that torch does not write: two of a name, or outside its folder")
    for entry, name in zip(entries, names):
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise ModelError(
                "unsafe_checkpoint",
                f"{path.name} is compressed or encrypted, which torch never does; it was not opened.",
            )
        file.seek(max(entry.header_offset, 0))
        local = file.read(30)
        if len(local) < 30 or (entry.header_offset and local[:4] != b"PK\x03\x04"):
            raise _bad(path, f"is damaged: {name} is not where the table of contents says")
        offset = (
            entry.header_offset + 30 + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:], "little")
        )
        if offset + entry.file_size > end:
            raise _bad(path, f"is cut short: {name} would end {offset + entry.file_size - end} bytes after the file")
        yield name, _Record(offset, entry.file_size)


_PurePythonPickler: Any = pickle._Pickler
"""The one kind of pickler that can name a class as another module's; typeshed does not know its methods."""


class _Pickler(_PurePythonPickler):  # type: ignore[misc]
    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Write HParams under their official name, every other class under its own."""
        if obj is not HParams:
            super().save_global(obj, name)
            return
        self.write(pickle.GLOBAL + b"utils\nHParams\n")
        self.memoize(obj)


class _OfficialPickle:
    """The pickle module for `torch.save`."""

    Pickler = _Pickler


def _bad(path: Path, what: str) -> ModelError:
    return ModelError("bad_checkpoint", f"{path.name} {printable(what)}.")


def printable(text: str) -> str:
    """Escape the characters of an untrusted file's text that would move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _first(error: Exception) -> str:
    return printable((str(error).splitlines() or [""])[0][:200]) or type(error).__name__
