"""Checkpoints: our safetensors files, the official pickled ones read without running them, and resume files.

Nothing here ever unpickles freely: a voice file comes from strangers (specification s2-sovits §25.1).
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from GPT_SoVITS.errors import ModelError

logger = logging.getLogger(__name__)

KINDS = ("gpt", "sovits", "discriminator")
OFFICIAL_HEADERS = (b"PK", b"00", b"01", b"02", b"03", b"04", b"05", b"06")
"""First two bytes of official files: `PK`, or a version mark written over it (§2.1)."""
HEADER_VERSIONS = {b"00": "v1", b"01": "v2", b"02": "v3", b"03": "v3", b"04": "v4", b"05": "v2Pro", b"06": "v2ProPlus"}
_DAMAGE = (RuntimeError, EOFError, ValueError, LookupError)
"""What torch raises for files that are cut or scrambled."""
V1_SYMBOLS = 322
"""Rows of the phoneme table of v1; every later version has 732."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights and what is needed to build the model that they belong to."""

    kind: str
    """`gpt`, `sovits` or `discriminator`."""
    version: str
    config: dict[str, Any]
    state: dict[str, Tensor]
    info: dict[str, Any] = field(default_factory=dict)
    """Whatever the writer wanted to remember: epoch, step, losses."""


def save_checkpoint(
    path: Path,
    *,
    kind: str,
    version: str,
    config: dict[str, Any],
    state: dict[str, Tensor],
    info: dict[str, Any],
    half: bool = True,
) -> str:
    """Write a safetensors file atomically and return its SHA-256 in hex; equal content gives equal bytes.

    `half` stores floating-point tensors as float16, as the official files do. A tensor that float16 cannot hold
    raises ModelError("not_finite"): a voice of infinities is not written.
    """
    if kind not in KINDS:
        raise ModelError("bad_checkpoint", f"{kind!r} is no kind of checkpoint; there are {', '.join(KINDS)}.")
    header = {"kind": kind, "version": version, "config": config, "info": info}
    tensors = {name: _stored(name, tensor, half) for name, tensor in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # One metadata entry: safetensors writes several in no particular order.
        save_file(tensors, temporary, {"sovitsd": json.dumps(header, sort_keys=True)})
        digest = _sha256(temporary)
        _publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return digest


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a file of `save_checkpoint`; the weights are mapped, not copied. Raises ModelError("bad_checkpoint")."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["sovitsd"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        return Checkpoint(header["kind"], header["version"], header["config"], state, header["info"])
    except FileNotFoundError as error:
        raise ModelError("no_checkpoint", f"There is no checkpoint at {path}.") from error
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise ModelError(
            "bad_checkpoint",
            f"{path.name} is not a checkpoint of this program: {error}.",
            hint="Official .pth and .ckpt files are read through read_official.",
        ) from error


def open_checkpoint(path: Path) -> Checkpoint:
    """Read ours or an official file, told apart by the first two bytes."""
    try:
        with path.open("rb") as file:
            header = file.read(2)
    except FileNotFoundError as error:
        raise ModelError("no_checkpoint", f"There is no checkpoint at {path}.") from error
    return read_official(path) if header in OFFICIAL_HEADERS else load_checkpoint(path)


class HParams:
    """Stands in for the official configuration class: takes attributes and does nothing."""


def read_official(path: Path) -> Checkpoint:
    """Read an official or fine-tuned `.pth` / `.ckpt`, whatever its header bytes, without running what it holds.

    Kind and version follow from the tensors (§2.1), so a renamed file still loads; the header bytes and the config are
    asked only where the tensors do not say. Raises ModelError with code
    "bad_checkpoint" or "unsafe_checkpoint".
    """
    header, stream = _zip_stream(path)
    try:
        with torch.serialization.safe_globals([(HParams, "utils.HParams")]):
            content = torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            "unsafe_checkpoint",
            f"{path.name} holds more than weights and settings, so it was not opened: {str(error).splitlines()[0]}",
        ) from error
    except _DAMAGE as error:
        raise ModelError("bad_checkpoint", f"{path.name} is damaged: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("weight"), dict):
        raise ModelError("bad_checkpoint", f"{path.name} has no `weight` mapping, so it is no official checkpoint.")
    state = content["weight"]
    config = _plain(content.get("config", {}))
    kind, version = identify(state)
    if not version:
        version = HEADER_VERSIONS.get(header) or str(config.get("model", {}).get("version", "v2"))
    info = {"official": str(content.get("info", ""))}
    if "lora_rank" in content:
        info["lora_rank"] = int(content["lora_rank"])
    return Checkpoint(kind, version, config, state, info)


def identify(state: dict[str, Tensor]) -> tuple[str, str]:
    """(kind, version) of official weights, from names and shapes alone; an empty version where they do not say."""
    if any(name.startswith("discriminators.") for name in state):
        return "discriminator", "v2Pro" if any(name.startswith("discriminators.7.") for name in state) else "v2"
    for name, tensor in state.items():
        if name.endswith("ar_text_embedding.word_embeddings.weight"):
            return "gpt", "v2" if tensor.shape[0] == 732 else "v1"
    return "sovits", _sovits_version(state)


def save_resume(path: Path, state: dict[str, Any]) -> None:
    """Write a training state so that `path` holds either the old one or the new one, never a torn one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        torch.save(state, temporary)
        _publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_resume(path: Path) -> dict[str, Any] | None:
    """The state of an earlier run, or None. An unreadable file is kept beside it as `<name>.unreadable`, and said."""
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (*_DAMAGE, pickle.UnpicklingError, OSError) as error:
        aside = path.with_name(f"{path.name}.unreadable")
        path.replace(aside)
        logger.warning("The training state %s cannot be read (%s); it was set aside as %s.", path, error, aside.name)
        return None


def _stored(name: str, tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.to(torch.float16 if half else torch.float32)
        if not torch.isfinite(tensor).all():
            raise ModelError("not_finite", f"The tensor {name} is not finite, so this checkpoint was not written.")
    return tensor.contiguous().clone()  # safetensors refuses tensors that share memory


def _zip_stream(path: Path) -> tuple[bytes, IO[bytes]]:
    """(first two bytes, the file with `PK` put back), once it is known to be an uncompressed zip.

    Torch never compresses; bombs do.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError("no_checkpoint", f"{path} cannot be read: {error}.") from error
    if content[:2] not in OFFICIAL_HEADERS:
        raise ModelError("bad_checkpoint", f"{path.name} is no official checkpoint: it begins with {content[:2]!r}.")
    stream = io.BytesIO(b"PK" + content[2:])
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ModelError("bad_checkpoint", f"{path.name} is damaged: {error}.") from error
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ModelError("unsafe_checkpoint", f"{path.name} is compressed, which torch never does; it was not opened.")
    stream.seek(0)
    return content[:2], stream


def _sovits_version(state: dict[str, Tensor]) -> str:
    if any(name.startswith("cfm.") for name in state):  # v3 and v4 have the same tensors
        return ""
    if "sv_emb.weight" in state:
        before = state.get("dec.conv_pre.weight")
        return "v2ProPlus" if before is not None and before.shape[0] == 768 else "v2Pro"
    table = state.get("enc_p.text_embedding.weight")
    if table is None:
        return ""
    return "v1" if table.shape[0] == V1_SYMBOLS else "v2"


def _plain(value: Any) -> Any:
    """Stand-ins and containers as dicts, lists and plain values, ready for JSON."""
    if isinstance(value, HParams):
        value = vars(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _publish(temporary: Path, path: Path) -> None:
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
