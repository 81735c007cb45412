"""A voice, ready to speak, and the catalogue of prompts that come with the server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import NotFound, SovitsError
from core.records import Records


class BadPromptCatalogue(SovitsError):
    """The file that PROMPTS_CONFIG names cannot be used."""

    code = "bad_prompt_catalogue"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A reference recording with its transcript and language."""

    name: str
    audio: str
    """Storage key; of a catalogue prompt the absolute path."""
    text: str
    language: str
    speaker: str = ""
    licence: str = ""
    source: str = ""
    """Where the recording comes from."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A GPT checkpoint, a SoVITS checkpoint and prompts."""

    id: str
    name: str
    version: str
    language: str
    gpt: str
    """Storage key of the weights."""
    sovits: str
    """Storage key of the weights."""
    prompts: tuple[Prompt, ...]

    def prompt(self, name: str = "") -> Prompt:
        """The prompt of that name (an emotion, for example), or the default one. NotFound lists the names."""
        for prompt in self.prompts:
            if not name or prompt.name == name:
                return prompt
        names = ", ".join(prompt.name for prompt in self.prompts) or "none"
        raise NotFound(f"the voice {self.name} has no prompt {name!r}", hint=f"Its prompts: {names}.")


async def find_voice(records: Records, id_or_name: str) -> Voice:
    """The voice with the storage keys of its weights. VoiceNotFound names some that there are."""
    record = await records.voices.get(id_or_name)
    gpt = await records.checkpoints.get(record.gpt_checkpoint_id)
    sovits = await records.checkpoints.get(record.sovits_checkpoint_id)
    return Voice(
        id=record.id,
        name=record.name,
        version=record.version,
        language=record.language,
        gpt=gpt.storage_key,
        sovits=sovits.storage_key,
        prompts=tuple(
            Prompt(name=one["name"], audio=one["audio"], text=one["text"], language=one["language"])
            for one in record.prompts
        ),
    )


def read_prompts(catalogue: Path) -> dict[str, Prompt]:
    """The prompts of a catalogue by name; none when the file is not there.

    The file: `{"prompts": {name: {"audio", "text", "language", "speaker", "licence", "source"}}}`, where
    audio is a path relative to the file.
    BadPromptCatalogue names the entry that is wrong.
    """
    if not catalogue.exists():
        return {}
    try:
        entries = json.loads(catalogue.read_text(encoding="utf-8"))["prompts"]
        pairs = list(entries.items())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadPromptCatalogue(
            f"{catalogue} is no prompt catalogue", hint='It is JSON: {"prompts": {name: {…}}}.'
        ) from None
    return {name: _read_entry(catalogue.parent, name, entry) for name, entry in pairs}


def _read_entry(folder: Path, name: str, entry: Any) -> Prompt:
    if not isinstance(entry, dict):
        raise BadPromptCatalogue(f"prompt {name!r} is no object")
    missing = [key for key in ("audio", "text", "language") if not isinstance(entry.get(key), str)]
    if missing:
        raise BadPromptCatalogue(f"prompt {name!r} has no {', '.join(missing)}")
    audio = (folder / entry["audio"]).resolve()
    if not audio.is_relative_to(folder.resolve()):
        raise BadPromptCatalogue(f"prompt {name!r} lies outside {folder}")
    if not audio.is_file():
        raise BadPromptCatalogue(f"prompt {name!r} names {audio}, which is not there")
    extras = {key: str(entry.get(key, "")) for key in ("speaker", "licence", "source")}
    return Prompt(name=name, audio=str(audio), text=entry["text"], language=entry["language"], **extras)
