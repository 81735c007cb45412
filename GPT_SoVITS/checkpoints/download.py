"""Fetches official weights from the hub or a mirror: resumed where a transfer broke, verified, put in place whole."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from GPT_SoVITS.checkpoints.atomic import replacing
from GPT_SoVITS.checkpoints.catalog import OfficialFile, local_place
from GPT_SoVITS.errors import ModelError

HUB = "https://huggingface.co"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SPARE = 64 << 20
"""Bytes that stay free on the disk."""
_FIRST = 8192
"""Bytes that the original's MD5 is of."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A file that is not there yet, and what the hub says of it."""

    file: OfficialFile
    target: Path
    url: str
    size: int
    etag: str
    """SHA-256 of a large file, Git's SHA-1 of a small one."""

    @property
    def part(self) -> Path:
        """What has arrived so far; another content of the same name begins anew."""
        return self.target.with_name(f".{self.target.name}.{self.etag[:16]}.part")

    @property
    def remaining(self) -> int:
        return self.size - (self.part.stat().st_size if self.part.exists() else 0)


def fetch(
    files: Iterable[OfficialFile],
    folder: Path,
    *,
    endpoint: str = HUB,
    say: Callable[[str], None] = print,
) -> None:
    """Put every file that is missing into its place below `folder`, one after the other.

    Nothing is asked of the network for a file that is there: a name holds the whole verified file or nothing. Several
    processes may fetch the same files: one transfers, the others wait for it. `endpoint` is the hub or a mirror.
    Raises ModelError with code "no_repository", "download_failed" (worth another try, which resumes), "bad_download"
    (the sums differ) or "disk_full".
    """
    missing = []
    for file in files:
        target = local_place(folder, file)
        if target.exists():
            say(f"{file.path} is there.")
            continue
        if not file.repository:
            raise ModelError(
                "no_repository",
                f"No repository is known to have {file.path} ({file.what}).",
                hint=f"Copy it to {target} by hand.",
            )
        missing.append(_look_up(file, target, endpoint))
    _check_space(folder, missing)
    for wanted in missing:
        wanted.target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(wanted.target.with_name(f".{wanted.target.name}.lock")):
            if not wanted.target.exists():  # by another process, while this one waited
                _transfer(wanted)
        say(f"{wanted.file.path} is there: {wanted.size:,} bytes, verified.")


def _look_up(file: OfficialFile, target: Path, endpoint: str) -> _Wanted:
    """Ask the hub for the size and the sum of the file, and for the commit that both belong to."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    url = hf_hub_url(file.repository, file.source, endpoint=endpoint)
    try:
        found = get_hf_file_metadata(url, token=False, endpoint=endpoint)  # a token is none of a mirror's business
    except (EntryNotFoundError, RepositoryNotFoundError) as error:
        raise ModelError("no_repository", f"There is no {file.source} at {url}.") from error
    except Exception as error:  # the library passes on whatever its HTTP client raises
        raise _failed(url, error) from error
    summed = _SHA256.fullmatch(found.etag or "") or _SHA1.fullmatch(found.etag or "")
    if not summed or found.size is None or not found.commit_hash:
        raise _failed(url, ValueError("the answer names no sum, size or commit, so it is not a hub's"))
    if file.size is not None and found.size != file.size:
        raise _differs(file, f"has {found.size} bytes there, and the original's has {file.size}")
    pinned = hf_hub_url(file.repository, file.source, revision=found.commit_hash, endpoint=endpoint)
    return _Wanted(file, target, pinned, found.size, found.etag)


def _check_space(folder: Path, missing: list[_Wanted]) -> None:
    needed = sum(wanted.remaining for wanted in missing)
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if missing and needed + _SPARE > free:
        raise ModelError(
            "disk_full", f"{needed / 1e9:.2f} GB are to be fetched, and {free / 1e9:.2f} GB are free at {existing}."
        )


def _transfer(wanted: _Wanted) -> None:
    # Plain HTTP goes on at a byte, and mirrors speak it; the library's own download begins anew.
    from huggingface_hub.file_download import http_get

    if wanted.remaining < 0:
        wanted.part.unlink()
    try:
        with wanted.part.open("ab") as file:
            http_get(
                wanted.url,
                file,
                resume_size=file.tell(),
                expected_size=wanted.size,
                displayed_filename=wanted.target.name,
            )
    except Exception as error:  # the HTTP client's own errors, or the disk's
        raise _failed(wanted.url, error) from error
    try:
        _verify(wanted)
    except ModelError:
        wanted.part.unlink()
        raise
    with replacing(wanted.target) as temporary:
        wanted.part.replace(temporary)
    for stale in wanted.target.parent.glob(f".{wanted.target.name}.*.part"):
        stale.unlink()


def _verify(wanted: _Wanted) -> None:
    """Raise ModelError("bad_download") unless the hub's sum and those of the catalogue are the file's."""
    file = wanted.file
    with wanted.part.open("rb") as stream:
        first = hashlib.md5(stream.read(_FIRST), usedforsecurity=False).hexdigest()
        sha256 = _digest(stream, "sha256")
        for name, sum_ in (("hub", wanted.etag), ("catalogue", file.sha256)):
            if _SHA256.fullmatch(sum_) and sha256 != sum_:
                raise _differs(file, f"has the SHA-256 {sha256}, and the {name} says {sum_}")
        if _SHA1.fullmatch(wanted.etag) and _digest(stream, "sha1", f"blob {wanted.size}\0".encode()) != wanted.etag:
            raise _differs(file, f"has not the Git sum {wanted.etag} that the hub names")
    if file.first_md5 and first != file.first_md5:
        raise _differs(file, f"begins with other bytes (MD5 {first}) than the original's ({file.first_md5})")


def _digest(stream: BinaryIO, name: str, before: bytes = b"") -> str:
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
