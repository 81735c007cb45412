"""What is to be spoken: the text of a request itself, or text files that it names, alone or in a ZIP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from api.dependencies import ApiServices
from api.services.uploads import BYTES_PER_CHARACTER, TEXT_SUFFIX
from core.datasets.archive import is_zip, list_members, open_archive
from core.datasets.list_encoding import decode_list
from core.errors import InvalidRequest, NotFound, TextTooLong
from core.records import TEXT_MEDIA_TYPE, FileRecord
from core.storage import Storage

MAX_TEXT_FILES: Final = 500
ZIP_MEDIA_TYPE: Final = "application/zip"


async def read_text(api: ApiServices, source: str) -> str:
    """Return the text that a path names: of an upload, or behind a URL; a string that names neither is the text.

    Raises:
        ForbiddenAddress, DownloadFailed, FileTooLarge: the URL cannot be read.
        InvalidRequest: a file without text.
        TextTooLong: more than may be spoken.
    """
    if source.startswith(("http://", "https://")) and not any(letter.isspace() for letter in source):
        path = api.storage.new_temporary()
        try:
            await api.fetcher.fetch(source, path)
            return await asyncio.to_thread(_read, api.storage, path, source, api.settings.max_text_characters)
        finally:
            path.unlink(missing_ok=True)
    file = await _find_file(api, source)
    if file is None:
        return source
    if file.media_type not in (TEXT_MEDIA_TYPE, ZIP_MEDIA_TYPE):
        raise InvalidRequest(f"{file.id} is a recording.", hint="Upload the text as .txt, or send it itself.")
    path = await asyncio.to_thread(api.storage.path, file.storage_key)
    return await asyncio.to_thread(_read, api.storage, path, file.filename, api.settings.max_text_characters)


async def _find_file(api: ApiServices, source: str) -> FileRecord | None:
    if not source.startswith("file-"):
        return None
    try:
        return await api.records.files.get(source)
    except NotFound:
        return None


def _read(storage: Storage, path: Path, name: str, max_characters: int) -> str:
    """Return the text of a file, or of the text files in a ZIP in the order of their names."""
    if not is_zip(path):
        return _decode(path, name, max_characters)
    texts: list[str] = []
    with open_archive(path) as unpack, storage.temporary_folder() as folder:
        members = sorted(
            (member for member in list_members(path) if member.name.lower().endswith(TEXT_SUFFIX)),
            key=lambda member: member.name,
        )
        if len(members) > MAX_TEXT_FILES:
            raise InvalidRequest(f"The ZIP has {len(members)} texts; {MAX_TEXT_FILES} is the most.")
        for member in members:
            unpack(member, folder / "text")
            texts.append(_decode(folder / "text", member.name, max_characters))
    if not texts:
        raise InvalidRequest(f"{name} has no .txt file.", hint="Pack the texts as .txt files.")
    text = "\n".join(texts)
    if len(text) > max_characters:
        raise TextTooLong(f"The texts have {len(text):,} characters; {max_characters:,} is the most.")
    return text


def _decode(path: Path, name: str, max_characters: int) -> str:
    if path.stat().st_size > BYTES_PER_CHARACTER * max_characters:
        raise TextTooLong(f"{name} has more than {max_characters:,} characters, the most of a text.")
    text = decode_list(path.read_bytes())
    if text is None or "\0" in text:
        raise InvalidRequest(f"{name} is no text file.", hint="UTF-8 works.")
    return text
