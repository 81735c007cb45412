"""Receives the files of a multipart form: to disk as they come, hashed on the way, never more than the cap."""

from __future__ import annotations

import asyncio
import hashlib
import re
import unicodedata
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from core.errors import FileTooLarge, InvalidRequest
from core.storage import Storage

WRITE_BYTES: Final = 1 << 20
FORM_BYTES: Final = 1 << 16
"""The most that everything around the file may add up to: boundaries, headers, other fields."""
MAX_FIELDS: Final = 16
LONGEST_LABEL: Final = 200


@dataclass(frozen=True, slots=True)
class Upload:
    """One file, received."""

    path: Path
    """Temporary; deleted when the block ends unless it was published."""
    filename: str
    """A label, safe to show; never a path."""
    size_bytes: int
    sha256: str
    fields: dict[str, str]
    """The other fields of the form."""


@dataclass(frozen=True, slots=True)
class UploadedForm:
    """A form with files, received."""

    files: dict[str, Upload]
    """By the name of the part."""
    fields: dict[str, str]


@asynccontextmanager
async def received(request: Request, storage: Storage, max_bytes: int) -> AsyncIterator[Upload]:
    """The file of the request's form part `file`, for as long as the block lasts; see `received_form`."""
    async with received_form(request, storage, max_bytes, ("file",)) as form:
        if "file" not in form.files:
            raise InvalidRequest("The form has no file.", hint="Send a part named `file` with a file name.")
        yield form.files["file"]


@asynccontextmanager
async def received_form(
    request: Request, storage: Storage, max_bytes: int, names: Collection[str]
) -> AsyncIterator[UploadedForm]:
    """The files of the request's form parts with these names, for as long as the block lasts; each at most once.

    FileTooLarge before the first byte when the sender says the size, else as soon as a file passes the cap. A
    sender that goes away half-way raises ClientDisconnect and leaves nothing behind.
    """
    boundary = _boundary(request, names)
    announced = int(request.headers.get("content-length") or 0)
    if announced > max_bytes * len(names) + FORM_BYTES:
        raise too_large(max_bytes)
    form = _Form(boundary, storage.new_temporary, max_bytes, names)
    try:
        async for chunk in request.stream():
            await form.feed(chunk)
        yield await form.finish()
    finally:
        form.close()


def too_large(max_bytes: int) -> FileTooLarge:
    return FileTooLarge(
        f"The file is larger than {max_bytes / 2**20:g} MiB.", hint="An operator can raise MAX_UPLOAD_MB."
    )


def safe_label(name: str) -> str:
    """A file name from anywhere as a label: its last part, without anything invisible."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(letter for letter in last if unicodedata.category(letter)[0] != "C").strip(" .")
    return shown[:LONGEST_LABEL] or "upload"


def _boundary(request: Request, names: Collection[str]) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise InvalidRequest("The body is no form.", hint=f"Send multipart/form-data with a part named {_any(names)}.")
    return options[b"boundary"]


def _any(names: Collection[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)


@dataclass
class _Part:
    headers: dict[str, str] = field(default_factory=dict)
    header_name: str = ""
    header_value: str = ""
    name: str = ""
    value: bytearray = field(default_factory=bytearray)
    incoming: _Incoming | None = None


@dataclass
class _Incoming:
    """A file on its way to disk."""

    path: Path
    file: IO[bytes]
    filename: str
    size: int = 0
    hash: Any = field(default_factory=hashlib.sha256)


class _Form:
    """Follows the parser through the parts: files go to disk, small fields to memory."""

    def __init__(self, boundary: bytes, new_path: Callable[[], Path], max_bytes: int, names: Collection[str]) -> None:
        self.new_path = new_path
        self.max_bytes = max_bytes
        self.names = names
        self.fields: dict[str, str] = {}
        self.files: dict[str, _Incoming] = {}
        self.ended = False
        self._received = 0
        self._pending: list[tuple[_Incoming, bytes]] = []
        self._pending_bytes = 0
        self._part = _Part()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise InvalidRequest(f"The form cannot be read: {error}.") from None

    async def feed(self, chunk: bytes) -> None:
        self._received += len(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidRequest(f"The form cannot be read: {error}.") from None
        if self._received - sum(one.size for one in self.files.values()) > FORM_BYTES:
            raise InvalidRequest(
                "The form has too much beside its file.", hint=f"Send files as parts named {_any(self.names)}."
            )
        if self._pending_bytes >= WRITE_BYTES:
            await self._flush()

    async def finish(self) -> UploadedForm:
        if not self.ended:
            raise InvalidRequest("The form breaks off before its end.", hint="Send the file again.")
        if any(one.size == 0 for one in self.files.values()):
            raise InvalidRequest("The file is empty.")
        await self._flush()
        files = {}
        for name, one in self.files.items():
            one.file.flush()
            files[name] = Upload(one.path, one.filename, one.size, one.hash.hexdigest(), self.fields)
        return UploadedForm(files, self.fields)

    def close(self) -> None:
        """Delete what was not published."""
        for one in self.files.values():
            one.file.close()
            one.path.unlink(missing_ok=True)

    async def _flush(self) -> None:
        blocks, self._pending, self._pending_bytes = self._pending, [], 0
        await asyncio.to_thread(self._write, blocks)

    def _write(self, blocks: list[tuple[_Incoming, bytes]]) -> None:
        for incoming, block in blocks:
            incoming.hash.update(block)
            incoming.file.write(block)

    def _on_part_begin(self) -> None:
        self._part = _Part()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._part.header_name += data[start:end].decode("latin-1")

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.header_value += data[start:end].decode("latin-1")

    def _on_header_end(self) -> None:
        part = self._part
        part.headers[part.header_name.lower()] = part.header_value
        part.header_name = part.header_value = ""

    def _on_headers_finished(self) -> None:
        part = self._part
        _, options = parse_options_header(part.headers.get("content-disposition", ""))
        part.name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in options:
            if len(self.fields) >= MAX_FIELDS:
                raise InvalidRequest("The form has too many fields.")
            return
        if part.name not in self.names:
            raise InvalidRequest(f"The form has a file named {part.name!r}.", hint=f"Name the part {_any(self.names)}.")
        if part.name in self.files:
            raise InvalidRequest("The form has two files of one name.", hint="Upload one file a request.")
        path = self.new_path()
        label = safe_label(options[b"filename"].decode("utf-8", "replace"))
        part.incoming = self.files[part.name] = _Incoming(path, path.open("wb"), label)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        incoming = self._part.incoming
        if incoming is None:
            self._part.value += data[start:end]
            return
        incoming.size += end - start
        if incoming.size > self.max_bytes:
            raise too_large(self.max_bytes)
        self._pending.append((incoming, data[start:end]))
        self._pending_bytes += end - start

    def _on_part_end(self) -> None:
        if self._part.incoming is None:
            self.fields[self._part.name] = self._part.value.decode("utf-8", "replace")

    def _on_end(self) -> None:
        self.ended = True
