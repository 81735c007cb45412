"""Export of a voice as one ZIP (`core.voices.archive`), streamed."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

from common.files import sha256_of_file
from core.errors import Conflict
from core.records import CheckpointRecord, ConsentRecord, VoiceRecord
from core.storage import Storage
from core.voices.archive import MANIFEST, CheckpointEntry, ConsentEntry, PromptEntry, VoiceManifest

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The time of every member: the same voice gives the same bytes."""
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class VoiceExport:
    """A voice whose files are complete, ready to be sent."""

    manifest: bytes
    files: tuple[tuple[str, Path], ...]
    """Name in the archive, and path."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the ZIP in chunks; the same voice gives the same bytes."""
        buffer = _ChunkBuffer()
        with zipfile.ZipFile(cast(BinaryIO, buffer), "w") as archive:  # it only writes and flushes
            archive.writestr(zipfile.ZipInfo(MANIFEST, _EPOCH), self.manifest)
            for name, path in self.files:
                info = zipfile.ZipInfo(name, _EPOCH)
                info.file_size = path.stat().st_size
                with path.open("rb") as source, archive.open(info, "w") as target:
                    while block := source.read(_CHUNK_BYTES):
                        target.write(block)
                        yield buffer.take()
        yield buffer.take()


def prepare_export(
    voice: VoiceRecord,
    gpt: CheckpointRecord,
    sovits: CheckpointRecord,
    storage: Storage,
    consent: ConsentRecord | None = None,
) -> VoiceExport:
    """Read every file of a voice and return the export; block until it is done.

    Raises:
        Conflict: names the file that is missing or damaged.
    """

    def checksum_of(path: Path, description: str, expected: str = "") -> str:
        checksum = sha256_of_file(path) if path.is_file() else ""
        if not checksum or (expected and checksum != expected):
            state = "damaged" if checksum else "gone"
            raise Conflict(f"The voice {voice.name} cannot be exported: of {description} the file is {state}.")
        return checksum

    files = []
    checkpoints = {}
    for record in (gpt, sovits):
        path = storage.path(record.storage_key)
        checksum_of(path, f"the {record.kind} weights {record.id}", record.sha256)
        files.append((f"{record.kind}.safetensors", path))
        checkpoints[record.kind] = _checkpoint_entry(record)
    prompts = []
    for number, prompt in enumerate(voice.prompts):
        path = storage.path(str(prompt["audio"]))
        name = f"prompts/{number:02d}.wav"
        files.append((name, path))
        prompts.append(
            PromptEntry(
                name=prompt["name"],
                text=prompt["text"],
                language=prompt["language"],
                file=name,
                sha256=checksum_of(path, f"the prompt {prompt['name']!r}"),
                tokens=prompt.get("tokens"),
                description=prompt.get("description", ""),
            )
        )
    manifest = VoiceManifest(
        name=voice.name,
        version=voice.version,
        language=voice.language,
        pronunciations=voice.pronunciations,
        loudness=voice.loudness,
        prompts=prompts,
        consent=None if consent is None else _consent_entry(consent),
        **checkpoints,
    )
    left_out = {name for name in ("consent", "loudness") if getattr(manifest, name) is None}
    return VoiceExport(manifest.model_dump_json(indent=1, exclude=left_out).encode(), tuple(files))


def _checkpoint_entry(checkpoint: CheckpointRecord) -> CheckpointEntry:
    return CheckpointEntry(
        file=f"{checkpoint.kind}.safetensors",
        sha256=checkpoint.sha256,
        size_bytes=checkpoint.size_bytes,
        version=checkpoint.version,
        name=checkpoint.name,
        epoch=checkpoint.epoch,
        step=checkpoint.step,
        metrics=checkpoint.metrics,
        lineage=checkpoint.lineage,
    )


def _consent_entry(consent: ConsentRecord) -> ConsentEntry:
    return ConsentEntry(
        speaker=consent.speaker,
        statement=consent.statement,
        source=str(consent.source),
        uses=consent.uses,
        language=consent.language,
        given_at=consent.given_at,
        expires_at=consent.expires_at,
        recording_sha256=consent.recording_sha256,
    )


class _ChunkBuffer:
    """A writable file object that gives back what was written."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def flush(self) -> None:
        """Do nothing: `take` gives back everything."""

    def take(self) -> bytes:
        data = bytes(self._written)
        self._written.clear()
        return data
