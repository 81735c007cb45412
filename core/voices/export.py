"""A voice as one ZIP: written for export, and read back with care.

The archive holds `voice.json`, the two checkpoints byte for byte, and the prompts.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, cast

from pydantic import BaseModel, Field, ValidationError

from common.versions import VERSIONS
from core.datasets.archive import ArchiveMember, extract_member, list_members
from core.errors import BadArchive, Conflict
from core.records import CheckpointRecord, VoiceRecord
from core.speech.checks import canonical_language, check_pronunciations
from core.storage import Storage
from core.voices.checks import LONGEST_NAME, LONGEST_TEXT, MAX_PROMPTS, check_name, check_prompt_names

MANIFEST: Final = "voice.json"
MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_PROMPT_BYTES: Final = 32 << 20
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_BLOCK: Final = 1 << 20


class ArchivedPrompt(BaseModel):
    """A prompt in an archive."""

    name: str = Field(max_length=LONGEST_NAME)
    text: str = Field(max_length=LONGEST_TEXT)
    language: str = Field(max_length=40)
    file: str = Field(max_length=100)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    tokens: list[int] | None = Field(None, max_length=10_000)


class ArchivedCheckpoint(BaseModel):
    """Weights in an archive."""

    file: str = Field(max_length=100)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=1)
    version: str = Field(max_length=20)
    name: str = Field("", max_length=200)
    epoch: int | None = Field(None, ge=0, le=2**31 - 1)
    step: int | None = Field(None, ge=0, le=2**31 - 1)
    metrics: dict[str, Any] = Field(default_factory=dict)
    lineage: dict[str, Any] = Field(default_factory=dict)


class ArchivedVoice(BaseModel):
    """`voice.json`."""

    format: Literal[1] = 1
    name: str = Field(max_length=LONGEST_NAME)
    version: str
    language: str = Field(max_length=40)
    pronunciations: dict[str, str] = Field(default_factory=dict)
    prompts: list[ArchivedPrompt] = Field(min_length=1, max_length=MAX_PROMPTS)
    gpt: ArchivedCheckpoint
    sovits: ArchivedCheckpoint

    def files(self) -> dict[str, str]:
        """Name in the archive → SHA-256."""
        weights = {one.file: one.sha256 for one in (self.gpt, self.sovits)}
        return weights | {one.file: one.sha256 for one in self.prompts}


@dataclass(frozen=True, slots=True)
class Export:
    """A voice whose files were found whole, ready to be sent."""

    manifest: bytes
    files: tuple[tuple[str, Path], ...]
    """Name in the archive, and where it lies."""

    def chunks(self) -> Iterator[bytes]:
        """The ZIP, piece by piece; the same voice gives the same bytes."""
        sink = _Sink()
        with zipfile.ZipFile(cast(BinaryIO, sink), "w") as archive:  # nothing else is asked of it
            archive.writestr(zipfile.ZipInfo(MANIFEST, _EPOCH), self.manifest)
            for name, path in self.files:
                info = zipfile.ZipInfo(name, _EPOCH)
                info.file_size = path.stat().st_size
                with path.open("rb") as source, archive.open(info, "w") as target:
                    while block := source.read(_BLOCK):
                        target.write(block)
                        yield sink.take()
        yield sink.take()


def prepare_export(voice: VoiceRecord, gpt: CheckpointRecord, sovits: CheckpointRecord, storage: Storage) -> Export:
    """Look whether every file is there and whole. Conflict names the one that is not. Blocks."""
    files = []
    archived = {}
    for record in (gpt, sovits):
        path = storage.path(record.storage_key)
        _check_file(path, record.sha256, f"the {record.kind} weights {record.id}", voice)
        files.append((f"{record.kind}.safetensors", path))
        archived[record.kind] = ArchivedCheckpoint(
            file=f"{record.kind}.safetensors",
            sha256=record.sha256,
            size_bytes=record.size_bytes,
            version=record.version,
            name=record.name,
            epoch=record.epoch,
            step=record.step,
            metrics=record.metrics,
            lineage=record.lineage,
        )
    prompts = []
    for number, prompt in enumerate(voice.prompts):
        path = storage.path(str(prompt["audio"]))
        name = f"prompts/{number:02d}.wav"
        sha256 = _check_file(path, "", f"the prompt {prompt['name']!r}", voice)
        files.append((name, path))
        prompts.append(
            ArchivedPrompt(
                name=prompt["name"],
                text=prompt["text"],
                language=prompt["language"],
                file=name,
                sha256=sha256,
                tokens=prompt.get("tokens"),
            )
        )
    manifest = ArchivedVoice(
        name=voice.name,
        version=voice.version,
        language=voice.language,
        pronunciations=voice.pronunciations,
        prompts=prompts,
        **archived,
    )
    return Export(manifest.model_dump_json(indent=1).encode(), tuple(files))


def _check_file(path: Path, sha256: str, what: str, voice: VoiceRecord) -> str:
    found = sha256_of(path) if path.is_file() else ""
    if not found or (sha256 and found != sha256):
        state = "damaged" if found else "gone"
        raise Conflict(f"The voice {voice.name} cannot be exported: of {what} the file is {state}.")
    return found


def read_voice(path: Path) -> ArchivedVoice:
    """What an archive says it holds; BadArchive unless it holds exactly that. Nothing is unpacked but `voice.json`."""
    return _read(path)[0]


def unpack_voice(path: Path, folder: Path) -> ArchivedVoice:
    """Every file into `folder` under its own name, each with the bytes that the manifest promises. Blocks."""
    voice, found = _read(path)
    for number, (name, sha256) in enumerate(voice.files().items()):
        target = folder / _plain_name(number)
        extract_member(path, found[name], target)
        if sha256_of(target) != sha256:
            raise BadArchive(
                f"{name} is damaged: it has not the SHA-256 that {MANIFEST} says.", hint="Export it again."
            )
    return voice


def unpacked_files(voice: ArchivedVoice, folder: Path) -> dict[str, Path]:
    """Where `unpack_voice` put each file; no name of the archive is ever a path."""
    return {name: folder / _plain_name(number) for number, name in enumerate(voice.files())}


def _plain_name(number: int) -> str:
    return {0: "gpt.safetensors", 1: "sovits.safetensors"}.get(number, f"prompt-{number - 2}.wav")


def _read(path: Path) -> tuple[ArchivedVoice, dict[str, ArchiveMember]]:
    listed = list_members(path)
    found = {one.name: one for one in listed}
    if len(found) != len(listed) or len(listed) > MAX_PROMPTS + 3:
        raise BadArchive("The archive has files twice, or more than a voice consists of.", hint=_HINT)
    if MANIFEST not in found:
        raise BadArchive(f"The archive has no {MANIFEST}.", hint=_HINT)
    if found[MANIFEST].size_bytes > MAX_MANIFEST_BYTES:
        raise BadArchive(f"{MANIFEST} has {found[MANIFEST].size_bytes >> 20} MiB.", hint=_HINT)
    voice = _parse(path, found[MANIFEST])
    wanted = voice.files()
    if len(wanted) != 2 + len(voice.prompts) or wanted.keys() != found.keys() - {MANIFEST}:
        missing, more = wanted.keys() - found.keys(), found.keys() - wanted.keys() - {MANIFEST}
        told = [f"no {name}" for name in sorted(missing)[:3]] + [f"{name} besides" for name in sorted(more)[:3]]
        raise BadArchive(f"The archive is no voice: it has {', '.join(told) or 'one file for two'}.", hint=_HINT)
    for prompt in voice.prompts:
        if found[prompt.file].size_bytes > MAX_PROMPT_BYTES:
            raise BadArchive(f"{prompt.file} is too large for a prompt.", hint=_HINT)
    return voice, found


_HINT: Final = "GET /api/v1/voices/{voice}/export makes such archives."


def _parse(path: Path, manifest: ArchiveMember) -> ArchivedVoice:
    with zipfile.ZipFile(path) as archive, archive.open(archive.infolist()[manifest.index]) as file:
        try:
            block = file.read(MAX_MANIFEST_BYTES + 1)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
            raise BadArchive(f"{MANIFEST} is damaged in the archive: {error}.", hint=_HINT) from None
    try:
        voice = ArchivedVoice.model_validate_json(block)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise BadArchive(f"{MANIFEST} does not fit: {field or 'it'}: {problem['msg']}.", hint=_HINT) from None
    return _checked(voice)


def _checked(voice: ArchivedVoice) -> ArchivedVoice:
    """What pydantic cannot say: names, languages, versions, a dictionary that can be used."""
    if voice.version not in VERSIONS:
        raise BadArchive(f"{MANIFEST} names the version {voice.version!r}; known are {', '.join(VERSIONS)}.")
    check_name(voice.name)
    canonical_language(voice.language)
    check_pronunciations(voice.pronunciations)
    check_prompt_names([one.name for one in voice.prompts])
    for prompt in voice.prompts:
        check_name(prompt.name)
        canonical_language(prompt.language)
    return voice


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Sink:
    """A file that can only be written to, and gives back what was written."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken
