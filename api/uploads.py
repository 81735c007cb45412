"""Receives one file of a multipart form: to disk as it comes, hashed on the way, never more than the cap."""

from __future__ import annotations

import asyncio
import hashlib
import re
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

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


@asynccontextmanager
async def received(request: Request, storage: Storage, max_bytes: int) -> AsyncIterator[Upload]:
    """The file of the request's form part `file`, for as long as the block lasts.

    FileTooLarge before the first byte when the sender says its size, else as soon as it passes the cap. A
    sender that goes away half-way raises ClientDisconnect and leaves nothing behind.
    """
    boundary = _boundary(request)
    announced = int(request.headers.get("content-length") or 0)
    if announced > max_bytes + FORM_BYTES:
        raise too_large(max_bytes)
    path = storage.new_temporary()
    try:
        with path.open("wb") as file:
            form = _Form(boundary, file, max_bytes)
            async for chunk in request.stream():
                await form.feed(chunk)
            upload = await form.finish(path)
        yield upload
    finally:
        path.unlink(missing_ok=True)


def too_large(max_bytes: int) -> FileTooLarge:
    return FileTooLarge(
        f"The file is larger than {max_bytes / 2**20:g} MiB.", hint="An operator can raise MAX_UPLOAD_MB."
    )


def safe_label(name: str) -> str:
    """A file name from anywhere as a label: its last part, without anything invisible."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(letter for letter in last if unicodedata.category(letter)[0] != "C").strip(" .")
    return shown[:LONGEST_LABEL] or "upload"


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise InvalidRequest("The body is no form.", hint="Send multipart/form-data with a part named `file`.")
    return options[b"boundary"]


@dataclass
class _Part:
    headers: dict[str, str] = field(default_factory=dict)
    header_name: str = ""
    header_value: str = ""
    name: str = ""
    filename: str | None = None
    value: bytearray = field(default_factory=bytearray)


class _Form:
    """Follows the parser through the parts: the file goes to disk, small fields to memory."""

    def __init__(self, boundary: bytes, file: IO[bytes], max_bytes: int) -> None:
        self.file = file
        self.max_bytes = max_bytes
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.size = 0
        self.ended = False
        self._received = 0
        self._hash = hashlib.sha256()
        self._pending = bytearray()
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
        if self._received - self.size > FORM_BYTES:
            raise InvalidRequest("The form has too much beside its file.", hint="Send one part named `file`.")
        if len(self._pending) >= WRITE_BYTES:
            await self._flush()

    async def finish(self, path: Path) -> Upload:
        if not self.ended:
            raise InvalidRequest("The form breaks off before its end.", hint="Send the file again.")
        if self.filename is None:
            raise InvalidRequest("The form has no file.", hint="Send a part named `file` with a file name.")
        if self.size == 0:
            raise InvalidRequest("The file is empty.")
        await self._flush()
        self.file.flush()
        return Upload(path, self.filename, self.size, self._hash.hexdigest(), self.fields)

    async def _flush(self) -> None:
        block, self._pending = bytes(self._pending), bytearray()
        await asyncio.to_thread(self._write, block)

    def _write(self, block: bytes) -> None:
        self._hash.update(block)
        self.file.write(block)

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
        if part.name != "file":
            raise InvalidRequest(f"The form has a file named {part.name!r}.", hint="Name the part `file`.")
        if self.filename is not None:
            raise InvalidRequest("The form has two files.", hint="Upload one file a request.")
        part.filename = self.filename = safe_label(options[b"filename"].decode("utf-8", "replace"))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part.filename is None:
            self._part.value += data[start:end]
            return
        self.size += end - start
        if self.size > self.max_bytes:
            raise too_large(self.max_bytes)
        self._pending += data[start:end]

    def _on_part_end(self) -> None:
        if self._part.filename is None:
            self.fields[self._part.name] = self._part.value.decode("utf-8", "replace")

    def _on_end(self) -> None:
        self.ended = True
