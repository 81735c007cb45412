"""The ZIP of an exported voice: its manifest `voice.json`, the two checkpoints byte for byte, and the prompts.

Archives are untrusted input: they are read with checks, and no name in one is ever used as a path.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, Field, ValidationError

from common.files import sha256_of_file
from common.versions import VERSIONS
from core.datasets.archive import ArchiveMember, extract_member, list_members
from core.errors import BadArchive
from core.speech.checks import canonical_language, check_pronunciations
from core.speech.levels import Loudness
from core.voices.checks import (
    MAX_DESCRIPTION_LENGTH,
    MAX_NAME_LENGTH,
    MAX_PROMPT_TEXT_LENGTH,
    MAX_PROMPTS,
    check_prompt_names,
    check_stored_name,
)

MANIFEST: Final = "voice.json"
MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_PROMPT_BYTES: Final = 32 << 20
_HINT: Final = "GET /api/v1/voices/{voice}/export makes such archives."


class PromptEntry(BaseModel):
    """A prompt in a manifest."""

    name: str = Field(max_length=MAX_NAME_LENGTH)
    text: str = Field(max_length=MAX_PROMPT_TEXT_LENGTH)
    language: str = Field(max_length=40)
    file: str = Field(max_length=100)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    tokens: list[int] | None = Field(None, max_length=10_000)
    description: str = Field("", max_length=MAX_DESCRIPTION_LENGTH)


class CheckpointEntry(BaseModel):
    """Weights in a manifest."""

    file: str = Field(max_length=100)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=1)
    version: str = Field(max_length=20)
    name: str = Field("", max_length=200)
    epoch: int | None = Field(None, ge=0, le=2**31 - 1)
    step: int | None = Field(None, ge=0, le=2**31 - 1)
    metrics: dict[str, Any] = Field(default_factory=dict)
    lineage: dict[str, Any] = Field(default_factory=dict)


class ConsentEntry(BaseModel):
    """The speaker's consent in a manifest; times in seconds since the epoch."""

    speaker: str = Field(max_length=200)
    statement: str = Field(max_length=10_000)
    source: str = Field(max_length=20)
    uses: list[str] = Field(default_factory=list, max_length=50)
    language: str = Field("", max_length=20)
    given_at: float
    expires_at: float | None = None
    recording_sha256: str = Field("", max_length=64)


class VoiceManifest(BaseModel):
    """`voice.json`."""

    format: Literal[1] = 1
    name: str = Field(max_length=MAX_NAME_LENGTH)
    version: str
    language: str = Field(max_length=40)
    pronunciations: dict[str, str] = Field(default_factory=dict)
    loudness: Loudness | None = None
    prompts: list[PromptEntry] = Field(min_length=1, max_length=MAX_PROMPTS)
    gpt: CheckpointEntry
    sovits: CheckpointEntry
    consent: ConsentEntry | None = None

    def files(self) -> dict[str, str]:
        """Return name in the archive → SHA-256: the GPT and SoVITS weights, then the prompts in order."""
        weights = {checkpoint.file: checkpoint.sha256 for checkpoint in (self.gpt, self.sovits)}
        return weights | {prompt.file: prompt.sha256 for prompt in self.prompts}


def read_manifest(path: Path) -> VoiceManifest:
    """Return the manifest of an archive; nothing but the manifest is unpacked.

    Raises:
        BadArchive: the archive does not hold exactly the files that the manifest names.
    """
    return _read(path)[0]


def unpack_voice(path: Path, folder: Path) -> VoiceManifest:
    """Unpack every file into `folder` under a name of our own (`unpacked_files`); block until it is done.

    Raises:
        BadArchive: a file does not have the checksum that the manifest gives.
    """
    manifest, archived = _read(path)
    paths = unpacked_files(manifest, folder)
    for name, sha256 in manifest.files().items():
        extract_member(path, archived[name], paths[name])
        if sha256_of_file(paths[name]) != sha256:
            raise BadArchive(
                f"{name} is damaged: it has not the SHA-256 that {MANIFEST} says.", hint="Export it again."
            )
    return manifest


def unpacked_files(manifest: VoiceManifest, folder: Path) -> dict[str, Path]:
    """Return name in the archive → path that `unpack_voice` wrote."""
    names = ["gpt.safetensors", "sovits.safetensors", *(f"prompt-{i}.wav" for i in range(len(manifest.prompts)))]
    return {entry: folder / name for entry, name in zip(manifest.files(), names, strict=True)}


def _read(path: Path) -> tuple[VoiceManifest, dict[str, ArchiveMember]]:
    """Return the manifest and the members by name; raise BadArchive unless they fit each other."""
    listed = list_members(path)
    by_name = {member.name: member for member in listed}
    if len(by_name) != len(listed) or len(listed) > MAX_PROMPTS + 3:
        raise BadArchive("The archive has files twice, or more than a voice consists of.", hint=_HINT)
    if MANIFEST not in by_name:
        raise BadArchive(f"The archive has no {MANIFEST}.", hint=_HINT)
    if by_name[MANIFEST].size_bytes > MAX_MANIFEST_BYTES:
        raise BadArchive(f"{MANIFEST} has {by_name[MANIFEST].size_bytes >> 20} MiB.", hint=_HINT)
    manifest = _parse_manifest(path, by_name[MANIFEST])
    named = manifest.files().keys()
    archived = by_name.keys() - {MANIFEST}
    if len(named) != 2 + len(manifest.prompts) or named != archived:
        problems = [f"no {name}" for name in sorted(named - archived)[:3]]
        problems += [f"{name} besides" for name in sorted(archived - named)[:3]]
        raise BadArchive(f"The archive is no voice: it has {', '.join(problems) or 'one file for two'}.", hint=_HINT)
    for prompt in manifest.prompts:
        if by_name[prompt.file].size_bytes > MAX_PROMPT_BYTES:
            raise BadArchive(f"{prompt.file} is too large for a prompt.", hint=_HINT)
    return manifest, by_name


def _parse_manifest(path: Path, member: ArchiveMember) -> VoiceManifest:
    """Return the manifest, its names, languages, version and dictionary checked."""
    with zipfile.ZipFile(path) as archive, archive.open(archive.infolist()[member.index]) as file:
        try:
            content = file.read(MAX_MANIFEST_BYTES + 1)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
            raise BadArchive(f"{MANIFEST} is damaged in the archive: {error}.", hint=_HINT) from None
    try:
        manifest = VoiceManifest.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise BadArchive(f"{MANIFEST} does not fit: {field or 'it'}: {problem['msg']}.", hint=_HINT) from None
    if manifest.version not in VERSIONS:
        raise BadArchive(f"{MANIFEST} names the version {manifest.version!r}; known are {', '.join(VERSIONS)}.")
    check_stored_name(manifest.name)  # whoever imports it may send another name
    canonical_language(manifest.language)
    check_pronunciations(manifest.pronunciations)
    check_prompt_names([prompt.name for prompt in manifest.prompts])
    for prompt in manifest.prompts:
        check_stored_name(prompt.name)
        canonical_language(prompt.language)
    return manifest
