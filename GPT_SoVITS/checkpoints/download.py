"""Download official weights from the hub or a mirror: resumed where a transfer broke, verified, put in place whole."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx
from filelock import FileLock

from common.files import atomic_path, sha256_of_file
from GPT_SoVITS.checkpoints.catalog import OfficialFile, local_path
from GPT_SoVITS.checkpoints.checksums import check_checksum
from GPT_SoVITS.checkpoints.modelscope import find_file, is_modelscope
from GPT_SoVITS.errors import ModelError

HUB = "https://huggingface.co"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
RESERVED_BYTES = 64 << 20
"""Bytes that stay free on the disk."""
MD5_BYTES = 8192
"""Bytes at the beginning of a file over which upstream computes its MD5."""


@dataclass(frozen=True, slots=True)
class _PendingFile:
    """A file that is not there yet, and what the hub says of it."""

    file: OfficialFile
    target: Path
    url: str
    size: int
    etag: str
    """SHA-256 of a large file, Git's SHA-1 of a small one."""

    @property
    def part(self) -> Path:
        """File of the bytes that have arrived; another content of the same name begins anew."""
        return self.target.with_name(f".{self.target.name}.{self.etag[:16]}.part")

    @property
    def remaining(self) -> int:
        """Bytes that have not arrived yet."""
        return self.size - (self.part.stat().st_size if self.part.exists() else 0)


def fetch(
    files: Iterable[OfficialFile],
    folder: Path,
    *,
    endpoint: str = HUB,
    modelscope: bool | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Download every file that is missing below `folder`, one after the other.

    Nothing is requested for a file that is there: a name holds the whole verified file or nothing, and it must still
    have the checksum that is pinned or was recorded. Several processes may download the same files: one transfers, the
    others wait for it.

    Args:
        endpoint: The hub or a mirror of it, or ModelScope.
        modelscope: Whether the endpoint is asked as ModelScope is; None: by its address.
        say: Receives a line for each file.

    Raises:
        ModelError: "no_repository", "download_failed" (worth another attempt, which resumes), "bad_download" (the
            checksums differ), "bad_record" or "disk_full".
    """
    missing = []
    look_up = _look_up_on_modelscope if (is_modelscope(endpoint) if modelscope is None else modelscope) else _look_up
    for file in files:
        target = local_path(folder, file)
        if target.exists():
            check_checksum(folder, file, sha256_of_file(target))
            say(f"{file.path} is there.")
            continue
        if not file.repository:
            raise ModelError(
                "no_repository",
                f"No repository is known to have {file.path} ({file.what}).",
                hint=f"Copy it to {target} by hand.",
            )
        missing.append(look_up(file, target, endpoint))
    needed = sum(pending.remaining for pending in missing)
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if missing and needed + RESERVED_BYTES > free:
        raise ModelError(
            "disk_full", f"{needed / 1e9:.2f} GB are to be fetched, and {free / 1e9:.2f} GB are free at {existing}."
        )
    for pending in missing:
        pending.target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(pending.target.with_name(f".{pending.target.name}.lock")):
            if not pending.target.exists():  # by another process, while this one waited
                _transfer(pending, folder)
        say(f"{pending.file.path} is there: {pending.size:,} bytes, verified.")


def _look_up(file: OfficialFile, target: Path, endpoint: str) -> _PendingFile:
    """Query the hub for the size and the checksum of the file, and for the commit that both belong to."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    url = hf_hub_url(file.repository, file.source, endpoint=endpoint)
    try:
        metadata = get_hf_file_metadata(url, token=False, endpoint=endpoint)  # a token is none of a mirror's business
    except (EntryNotFoundError, RepositoryNotFoundError) as error:
        raise ModelError("no_repository", f"There is no {file.source} at {url}.") from error
    except Exception as error:  # the library passes on whatever its HTTP client raises
        raise _failed(url, error) from error
    etag = metadata.etag or ""
    if not (_SHA256.fullmatch(etag) or _SHA1.fullmatch(etag)) or metadata.size is None or not metadata.commit_hash:
        raise _failed(url, ValueError("the response names no sum, size or commit, so it is not a hub's"))
    if file.size is not None and metadata.size != file.size:
        raise _differs(file, f"has {metadata.size} bytes there, and the original's has {file.size}")
    pinned = hf_hub_url(file.repository, file.source, revision=metadata.commit_hash, endpoint=endpoint)
    return _PendingFile(file, target, pinned, metadata.size, etag)


def _look_up_on_modelscope(file: OfficialFile, target: Path, endpoint: str) -> _PendingFile:
    """Query ModelScope for the size and the checksum of the file."""
    if not file.modelscope:
        raise ModelError(
            "no_repository", f"ModelScope has no {file.path} ({file.what}).", hint="Ask another mirror: --mirror URL."
        )
    try:
        entry = find_file(file.modelscope, file.source, endpoint)
    except (httpx.HTTPError, ValueError) as error:
        raise _failed(f"{endpoint} ({file.modelscope})", error) from error
    if entry is None:
        raise ModelError("no_repository", f"There is no {file.source} in {file.modelscope} at {endpoint}.")
    url, size, sha256 = entry
    if not _SHA256.fullmatch(sha256):
        raise _failed(url, ValueError("the response names no SHA-256"))
    if file.size is not None and size != file.size:
        raise _differs(file, f"has {size} bytes there, and the original's has {file.size}")
    return _PendingFile(file, target, url, size, sha256)


def _transfer(pending: _PendingFile, folder: Path) -> None:
    """Download what is missing of a file, verify it and put it in place."""
    # Plain HTTP resumes at a byte, and mirrors speak it; the library's own download begins anew.
    from huggingface_hub.file_download import http_get

    if pending.remaining < 0:
        pending.part.unlink()
    try:
        with pending.part.open("ab") as file:
            http_get(
                pending.url,
                file,
                resume_size=file.tell(),
                expected_size=pending.size,
                displayed_filename=pending.target.name,
            )
    except Exception as error:  # the HTTP client's own errors, or the disk's
        raise _failed(pending.url, error) from error
    try:
        check_checksum(folder, pending.file, _verify(pending))
    except ModelError:
        pending.part.unlink()
        raise
    with atomic_path(pending.target, durable=True) as temporary:
        pending.part.replace(temporary)
    for stale in pending.target.parent.glob(f".{pending.target.name}.*.part"):
        stale.unlink()


def _verify(pending: _PendingFile) -> str:
    """Return the file's SHA-256; raise ModelError("bad_download") unless it is what the hub and upstream have."""
    file = pending.file
    with pending.part.open("rb") as stream:
        first = hashlib.md5(stream.read(MD5_BYTES), usedforsecurity=False).hexdigest()
        sha256 = _digest(stream, "sha256")
        if _SHA256.fullmatch(pending.etag) and sha256 != pending.etag:
            raise _differs(file, f"has the SHA-256 {sha256}, and the hub says {pending.etag}")
        if _SHA1.fullmatch(pending.etag) and _digest(stream, "sha1", f"blob {pending.size}\0".encode()) != pending.etag:
            raise _differs(file, f"has not the Git checksum {pending.etag} that the hub names")
    if file.first_md5 and first != file.first_md5:
        raise _differs(file, f"begins with other bytes (MD5 {first}) than upstream's ({file.first_md5})")
    return sha256


def _digest(stream: BinaryIO, name: str, before: bytes = b"") -> str:
    """Hash `before` and a whole stream."""
    stream.seek(0)
    digest = hashlib.new(name, before, usedforsecurity=name == "sha256")
    while piece := stream.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def _differs(file: OfficialFile, how: str) -> ModelError:
    return ModelError(
        "bad_download",
        f"{file.path} {how}; it was not kept.",
        hint="Another mirror may have the right one.",
        permanent=False,
    )


def _failed(url: str, error: Exception) -> ModelError:
    reason = (str(error).splitlines() or [""])[0] or type(error).__name__
    return ModelError(
        "download_failed",
        f"{url} could not be fetched: {reason}.",
        hint="The same command goes on where this one stopped; `--mirror URL` asks another host.",
        permanent=False,
    )
