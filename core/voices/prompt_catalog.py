"""The catalog of the prompts that come with the server."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common.languages import find_language
from core.errors import SovitsError
from core.speech.text_language import guess_language

_LISTED_FIELDS: Final = ("name", "path", "text")


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
    listed: bool = False
    """Whether it is from a list of the operator's own, whose recordings may be of any kind."""


@dataclass(frozen=True, slots=True)
class PromptCatalog:
    """The prompts of a catalog."""

    prompts: dict[str, CatalogPrompt]
    """By name."""
    problems: tuple[str, ...]
    """A sentence for each entry that cannot be used."""


def bundled_voice_id(name: str) -> str:
    """Return the id of the voice that is published for a prompt of the catalog."""
    return "voice-" + hashlib.sha256(f"bundled {name}".encode()).hexdigest()[:20]


def read_prompt_catalog(source: Path | str) -> dict[str, CatalogPrompt]:
    """Return the prompts of a catalog by name, without those of `load_prompt_catalog`'s problems."""
    return load_prompt_catalog(source).prompts


def load_prompt_catalog(source: Path | str) -> PromptCatalog:
    """Return a catalog; an empty one when its file does not exist.

    `source` is a file or JSON: `{"prompts": {name: {"audio", "text", "language", "speaker", "licence", "source"}}}`,
    where audio is a path relative to the file, or `[{"name", "path", "text", "language"}, …]`, where path is relative
    to the working folder and language may be left out. An entry of a list whose file is missing is a problem; the
    others count.

    Raises:
        BadPromptCatalog: names the entry that is wrong.
    """
    if isinstance(source, Path):
        if not source.exists():
            return PromptCatalog({}, ())
        text, name, folder = source.read_text(encoding="utf-8"), str(source), source.parent.resolve()
    else:
        text, name, folder = source, "PROMPTS_CONFIG", Path.cwd()
    try:
        document = json.loads(text)
        if isinstance(document, list) and (document or isinstance(source, str)):
            return _parse_list(document, name)
        pairs = list(document["prompts"].items())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadPromptCatalog(
            f"{name} is no prompt catalogue",
            hint='It is JSON: {"prompts": {name: {…}}}, or [{"name": …, "path": …, "text": …}].',
        ) from None
    return PromptCatalog({name: _parse_entry(folder, name, entry) for name, entry in pairs}, ())


def _parse_list(entries: list[object], source: str) -> PromptCatalog:
    prompts: dict[str, CatalogPrompt] = {}
    problems: list[str] = []
    for number, entry in enumerate(entries, 1):
        fields = entry if isinstance(entry, dict) else {}
        name, path, text = (value if isinstance(value := fields.get(key), str) else "" for key in _LISTED_FIELDS)
        if not (name.strip() and path.strip() and text.strip()):
            raise BadPromptCatalog(f"the entry {number} of {source} has no name, path or text")
        if name in prompts:
            raise BadPromptCatalog(f"two entries of {source} are named {name!r}")
        audio = Path(path).expanduser().absolute()
        if audio.is_file():
            language = fields.get("language")
            if not isinstance(language, str) or find_language(language) is None:
                language = guess_language(text)
            prompts[name] = CatalogPrompt(name, str(audio), text, language, listed=True)
        else:
            problems.append(f"The prompt {name!r} of {source} names {audio}, which is not there.")
    return PromptCatalog(prompts, tuple(problems))


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
    speaker, licence, origin = (str(entry.get(key, "")) for key in ("speaker", "licence", "source"))
    return CatalogPrompt(name, str(audio), entry["text"], entry["language"], speaker, licence, origin)
