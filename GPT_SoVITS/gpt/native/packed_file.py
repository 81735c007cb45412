"""Packed weights in files that all processes of a host map, so that they are in its memory once.

A file is a line of JSON, filled up to a page, and the tensors, each at a multiple of 64 bytes. Its name and its header
say what it was made of; it is made again when either disagrees, or its checksum does.
"""

from __future__ import annotations

import json
import logging
import math
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from common.files import sha256_of_file
from GPT_SoVITS.gpt.native.weights import Kind

logger = logging.getLogger(__name__)

LAYOUT: Final = 1
"""Changes with what csrc/kernels.h reads."""
SUFFIX: Final = ".packed"
PAGE: Final = 4096
ALIGNMENT: Final = 64
MAX_HEADER: Final = 1 << 20
DTYPES: Final = {str(dtype): dtype for dtype in (torch.float32, torch.float16, torch.uint8, torch.int32)}


@dataclass(frozen=True, slots=True)
class PackedFile:
    """Where the packed weights of one checkpoint are kept."""

    folder: Path
    """For the files of all checkpoints; only its owner can read it."""
    checkpoint: Path
    max_bytes: int
    """Of all files in the folder; the ones that were not used for longest are deleted."""

    def load(self, kind: Kind, pack: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Map the weights of a kind; pack and store them first where no file has them.

        Where the folder cannot be written, the weights are those of this process alone.
        """
        key = f"{sha256_of_file(self.checkpoint)}.{kind}.{LAYOUT}"
        path = self.folder / f"{key}{SUFFIX}"
        try:
            return _map(path, key)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            logger.warning("The packed weights in %s are made again: %s", path, error)
            with suppress(OSError):
                path.unlink()
        tensors = pack()
        try:
            _create(path, key, tensors)
            shared = _map(path, key)
        except (OSError, ValueError) as error:
            logger.warning("Packed weights cannot be shared with other processes: %s", error)
            return tensors
        self._prune(path)
        return shared

    def _prune(self, newest: Path) -> None:
        """Delete the files that were not used for longest; who has mapped one keeps it."""
        files = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            with suppress(OSError):
                status = path.stat()
                files.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self.max_bytes:
                break
            if path != newest:
                path.unlink(missing_ok=True)
                total -= size


def _create(path: Path, key: str, tensors: Sequence[Tensor]) -> None:
    """Write a file, complete or not at all; when another process does so at the same moment, the first one counts."""
    entries = [{"dtype": str(tensor.dtype), "shape": list(tensor.shape)} for tensor in tensors]
    checksum = size = 0
    for piece in _pieces(tensors):
        checksum, size = zlib.crc32(piece, checksum), size + len(piece)
    header = json.dumps({"key": key, "bytes": size, "crc32": checksum, "tensors": entries}).encode() + b"\n"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(header.ljust(_round_up(len(header), PAGE)))
            for piece in _pieces(tensors):
                file.write(piece)
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)


def _map(path: Path, key: str) -> list[Tensor]:
    """Map the tensors of a file. Raises ValueError, or others, for a file that is not what its name says."""
    with path.open("rb") as file:
        first = file.readline(MAX_HEADER)
    header: dict[str, Any] = json.loads(first)
    start, size = _round_up(len(first), PAGE), int(header["bytes"])
    if header["key"] != key:
        raise ValueError("it is of something else.")
    if path.stat().st_size != start + size:
        raise ValueError("it is not complete.")
    blob = torch.from_file(str(path), shared=False, size=start + size, dtype=torch.uint8)[start:]
    if zlib.crc32(blob.numpy().data) != header["crc32"]:
        raise ValueError("its checksum is wrong.")
    tensors, begin = [], 0
    for entry in header["tensors"]:
        dtype, shape = DTYPES[entry["dtype"]], [int(number) for number in entry["shape"]]
        length = math.prod(shape) * dtype.itemsize
        tensors.append(blob[begin : begin + length].view(dtype).view(shape))
        begin += _round_up(length, ALIGNMENT)
    with suppress(OSError):
        os.utime(path)  # it was used now
    return tensors


def _pieces(tensors: Sequence[Tensor]) -> Iterator[memoryview]:
    """Yield the bytes of tensors, each filled up to a multiple of the alignment."""
    for tensor in tensors:
        data = tensor.detach().contiguous().numpy().reshape(-1).view(np.uint8)
        yield data.data
        yield memoryview(bytes(-len(data) % ALIGNMENT))


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
