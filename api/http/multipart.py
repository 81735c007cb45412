"""Multipart uploads: files go to disk as they arrive, are hashed on the way, and never exceed the limit."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import unicodedata
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import IO, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from core.errors import FileTooLarge, InvalidRequest
from core.storage import Storage

WRITE_BYTES: Final = 1 << 20
MAX_FORM_BYTES: Final = 1 << 16
"""Everything around the files: boundaries, headers, other fields."""
MAX_FIELDS: Final = 16
MAX_LABEL_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Upload:
    """A received file."""

    path: Path
    """A temporary file, deleted when the block ends unless it was published."""
    filename: str
    """A label that is safe to display; never a path."""
    size_bytes: int
    sha256: str
    fields: dict[str, str]
    """The other fields of the form."""


@dataclass(frozen=True, slots=True)
class UploadedForm:
    """A received form with files."""

    files: dict[str, Upload]
    """By the name of the part."""
    fields: dict[str, str]


@asynccontextmanager
async def received_file(request: Request, storage: Storage, max_bytes: int) -> AsyncIterator[Upload]:
    """Receive the file of the form part `file`, which exists while the block runs; see `received_form`."""
    async with received_form(request, storage, max_bytes, ("file",)) as form:
        if "file" not in form.files:
            raise InvalidRequest("The form has no file.", hint="Send a part named `file` with a file name.")
        yield form.files["file"]


@asynccontextmanager
async def received_form(
    request: Request, storage: Storage, max_bytes: int, names: Collection[str]
) -> AsyncIterator[UploadedForm]:
    """Receive the files of the form parts with these names, each at most once; they exist while the block runs.

    FileTooLarge before the first byte when the Content-Length exceeds the limit, else as soon as a file does. A
    client that disconnects midway raises ClientDisconnect and leaves nothing behind.
    """
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    if media_type != b"multipart/form-data" or not options.get(b"boundary"):
        parts = _alternatives(names)
        raise InvalidRequest("The body is no form.", hint=f"Send multipart/form-data with a part named {parts}.")
    announced = int(request.headers.get("content-length") or 0)
    if announced > max_bytes * len(names) + MAX_FORM_BYTES:
        raise file_too_large(max_bytes)
    form = _FormReceiver(options[b"boundary"], storage.new_temporary, max_bytes, names)
    try:
        async for chunk in request.stream():
            await form.feed(chunk)
        yield await form.finish()
    finally:
        form.close()


def announced_bytes(request: Request) -> int:
    """Return how many bytes the files of a form have at least, by its Content-Length; 0 without one."""
    return max(0, int(request.headers.get("content-length") or 0) - MAX_FORM_BYTES)


def file_too_large(max_bytes: int) -> FileTooLarge:
    """Return the error for a file above the limit."""
    return FileTooLarge(
        f"The file is larger than {max_bytes / 2**20:g} MiB.", hint="An operator can raise MAX_UPLOAD_MB."
    )


def safe_label(name: str) -> str:
    """Turn an untrusted file name into a label: its last part, without invisible characters."""
    last = re.split(r"[/\\]", name)[-1]
    visible = "".join(letter for letter in last if unicodedata.category(letter)[0] != "C").strip(" .")
    return visible[:MAX_LABEL_LENGTH] or "upload"


def disposition_parameter(disposition: str, name: str) -> str | None:
    """Return a parameter of a Content-Disposition header, None without it.

    The extended form (`filename*=UTF-8''…`, also in numbered parts, RFC 2231) comes before the plain one, which is
    often a transcription. An extended form that cannot be decoded counts as a plain one.
    """
    extended = _extended_parameter(disposition, name)
    if extended is not None and "\ufffd" not in extended:
        return extended
    _, options = parse_options_header(disposition)
    plain = options.get(name.encode())
    return extended if plain is None else plain.decode("utf-8", "replace")


def _extended_parameter(disposition: str, name: str) -> str | None:
    """Return the extended form of a parameter; with U+FFFD for what cannot be decoded."""
    message = Message()
    message["Content-Disposition"] = disposition
    try:
        parameters = message.get_params([], header="Content-Disposition")
    except ValueError:  # a number of a part that no integer holds
        return None
    for key, value in parameters:
        if key.lower() == name and (isinstance(value, tuple) or "*0" in disposition):
            charset, _, text = value if isinstance(value, tuple) else (None, None, value)
            raw = text.encode("latin-1", "replace")
            try:
                return raw.decode(charset or "utf-8", "replace")
            except (LookupError, ValueError):  # a charset that does not exist
                return raw.decode("utf-8", "replace")
    return None


def _alternatives(names: Collection[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)


@dataclass
class _Part:
    headers: dict[str, str] = field(default_factory=dict)
    header_name: str = ""
    header_value: str = ""
    name: str = ""
    value: bytearray = field(default_factory=bytearray)
    file: _IncomingFile | None = None


@dataclass
class _IncomingFile:
    """A file on its way to disk."""

    path: Path
    stream: IO[bytes]
    filename: str
    size: int = 0
    hash: hashlib._Hash = field(default_factory=hashlib.sha256)


class _FormReceiver:
    """Callbacks of the multipart parser: files go to disk, small fields to memory."""

    def __init__(self, boundary: bytes, new_path: Callable[[], Path], max_bytes: int, names: Collection[str]) -> None:
        self.new_path = new_path
        self.max_bytes = max_bytes
        self.names = names
        self.fields: dict[str, str] = {}
        self.files: dict[str, _IncomingFile] = {}
        self.ended = False
        self._received = 0
        self._pending: list[tuple[_IncomingFile, bytes]] = []
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
        """Parse the next bytes of the body, and write what has accumulated to disk."""
        self._received += len(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidRequest(f"The form cannot be read: {error}.") from None
        if self._received - sum(file.size for file in self.files.values()) > MAX_FORM_BYTES:
            raise InvalidRequest(
                "The form has too much beside its file.",
                hint=f"Send files as parts named {_alternatives(self.names)}.",
            )
        if self._pending_bytes >= WRITE_BYTES:
            await self._flush()

    async def finish(self) -> UploadedForm:
        """Return the complete form; InvalidRequest when it breaks off or a file is empty."""
        if not self.ended:
            raise InvalidRequest("The form breaks off before its end.", hint="Send the file again.")
        if any(file.size == 0 for file in self.files.values()):
            raise InvalidRequest("The file is empty.")
        await self._flush()
        uploads = {}
        for name, file in self.files.items():
            file.stream.flush()
            uploads[name] = Upload(file.path, file.filename, file.size, file.hash.hexdigest(), self.fields)
        return UploadedForm(uploads, self.fields)

    def close(self) -> None:
        """Delete the files that were not published."""
        for file in self.files.values():
            with contextlib.suppress(OSError):  # on a full disk, closing fails once more
                file.stream.close()
            file.path.unlink(missing_ok=True)

    async def _flush(self) -> None:
        blocks, self._pending, self._pending_bytes = self._pending, [], 0

        def write() -> None:
            for file, block in blocks:
                file.hash.update(block)
                file.stream.write(block)

        await asyncio.to_thread(write)

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
        disposition = part.headers.get("content-disposition", "")
        part.name = disposition_parameter(disposition, "name") or ""
        filename = disposition_parameter(disposition, "filename")
        if filename is None:
            if len(self.fields) >= MAX_FIELDS:
                raise InvalidRequest("The form has too many fields.")
            return
        if part.name not in self.names:
            names = _alternatives(self.names)
            raise InvalidRequest(f"The form has a file named {part.name!r}.", hint=f"Name the part {names}.")
        if part.name in self.files:
            raise InvalidRequest("The form has two files of one name.", hint="Upload one file a request.")
        path = self.new_path()
        part.file = self.files[part.name] = _IncomingFile(path, path.open("wb"), safe_label(filename))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        file = self._part.file
        if file is None:
            self._part.value += data[start:end]
            return
        file.size += end - start
        if file.size > self.max_bytes:
            raise file_too_large(self.max_bytes)
        self._pending.append((file, data[start:end]))
        self._pending_bytes += end - start

    def _on_part_end(self) -> None:
        if self._part.file is None:
            self.fields[self._part.name] = self._part.value.decode("utf-8", "replace")

    def _on_end(self) -> None:
        self.ended = True
