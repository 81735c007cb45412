"""The catalog of the prompts that come with the server."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from core.errors import SovitsError


class BadPromptCatalog(SovitsError):
    """The file that PROMPTS_CONFIG names cannot be used."""

    code = "bad_prompt_catalogue"


@dataclass(frozen=True, slots=True)
class CatalogPrompt:
    """A reference recording with its transcript and language."""

    name: str
    audio: str
    """Absolute path."""
    text: str
    language: str
    speaker: str = ""
    licence: str = ""
    source: str = ""
    """Where the recording comes from."""


def bundled_voice_id(name: str) -> str:
    """Return the id of the voice that is published for a prompt of the catalog."""
    return "voice-" + hashlib.sha256(f"bundled {name}".encode()).hexdigest()[:20]


def read_prompt_catalog(path: Path) -> dict[str, CatalogPrompt]:
    """Return the prompts of a catalog by name; none when the file does not exist.

    The file: `{"prompts": {name: {"audio", "text", "language", "speaker", "licence", "source"}}}`, where
    audio is a path relative to the file.

    Raises:
        BadPromptCatalog: names the entry that is wrong.
    """
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["prompts"]
        pairs = list(entries.items())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadPromptCatalog(f"{path} is no prompt catalogue", hint='It is JSON: {"prompts": {name: {…}}}.') from None
    return {name: _parse_entry(path.parent.resolve(), name, entry) for name, entry in pairs}


def _parse_entry(folder: Path, name: str, entry: object) -> CatalogPrompt:
    if not isinstance(entry, dict):
        raise BadPromptCatalog(f"prompt {name!r} is no object")
    missing = [key for key in ("audio", "text", "language") if not isinstance(entry.get(key), str)]
    if missing:
        raise BadPromptCatalog(f"prompt {name!r} has no {', '.join(missing)}")
    audio = (folder / entry["audio"]).resolve()
    if not audio.is_relative_to(folder):
        raise BadPromptCatalog(f"prompt {name!r} lies outside {folder}")
    if not audio.is_file():
        raise BadPromptCatalog(f"prompt {name!r} names {audio}, which is not there")
    extras = {key: str(entry.get(key, "")) for key in ("speaker", "licence", "source")}
    return CatalogPrompt(name=name, audio=str(audio), text=entry["text"], language=entry["language"], **extras)
