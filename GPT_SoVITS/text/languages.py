"""The registry of languages: what a language's front end does, and where each language is found.

To add a language, write a class of the shape of `LanguageFrontend`, add an entry to `REGISTRY` and its codes to
`common/languages.py`; docs/adding-a-language.md goes through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

from common.languages import LANGUAGE_CODES, LANGUAGE_CODES_OF_V1, LanguageCode, find_language
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.segment_parts import SegmentPart, SegmentPhonemes
from GPT_SoVITS.text.tracing import TracedText


class LanguageFrontend(Protocol):
    """The path of one language from text to phonemes. Every call takes time linear in the length of its text."""

    code: str

    def is_readable(self, character: str) -> bool:
        """Return whether the character is spoken, or is punctuation or whitespace that may be passed over."""
        ...

    def find_unreadable(self, text: str) -> list[tuple[int, str]]:
        """Return (position, fragment) of readable characters that stand in no word of the dictionary; often []."""
        ...

    def normalize(self, text: str) -> str:
        """Return the text with numbers, units and symbols written out, as far as `phonemize` needs it."""
        ...

    def rewrite(self, text: TracedText) -> TracedText:
        """Normalize a text and keep track of where its characters come from."""
        ...

    def phonemize(self, parts: Sequence[SegmentPart], version: str) -> SegmentPhonemes:
        """Return the phonemes of a segment, whose parts may have pronunciations that a user gave."""
        ...


@dataclass(frozen=True, slots=True)
class LanguageEntry:
    """Where a language's front end is found, and what it needs."""

    name: str
    """For people."""
    implementation: str
    """`module:class`, imported on first use."""
    requires: tuple[str, ...] = ()
    """Modules that the extra named like the language's code installs."""
    in_v1: bool = False
    """Whether the symbol table of v1 has its phonemes; that of every later version has those of all languages."""


REGISTRY = {
    "zh": LanguageEntry("Mandarin", "GPT_SoVITS.text.mandarin.frontend:Mandarin", ("jieba", "pypinyin"), in_v1=True),
    "en": LanguageEntry("English", "GPT_SoVITS.text.english.frontend:English", in_v1=True),
    "ja": LanguageEntry("Japanese", "GPT_SoVITS.text.japanese.frontend:Japanese", ("pyopenjtalk",), in_v1=True),
    "ko": LanguageEntry("Korean", "GPT_SoVITS.text.korean.frontend:Korean", ("g2pk2", "jamo", "mecab")),
    "yue": LanguageEntry("Cantonese", "GPT_SoVITS.text.cantonese.frontend:Cantonese", ("ToJyutping",)),
}
"""Code of a single language → its front end."""


def language_codes(version: str = "v2") -> tuple[LanguageCode, ...]:
    """Return the codes that texts for models of a version may have."""
    return LANGUAGE_CODES_OF_V1 if version == "v1" else LANGUAGE_CODES


def spoken_languages(version: str = "v2") -> tuple[str, ...]:
    """Return the codes of the single languages that a version's models can speak."""
    return tuple(code for code, entry in REGISTRY.items() if entry.in_v1 or version != "v1")


def resolve_language(language: str, version: str = "v2") -> LanguageCode:
    """Return the code that a name stands for; raise `unsupported_language` for one that the version cannot speak."""
    code = find_language(str(language))
    if code is None or code not in language_codes(version):
        raise unsupported_language(language, version, language_codes(version))
    return code


def unsupported_language(language: str, version: str, supported: Sequence[str]) -> ModelError:
    """Return the error for a language that is none of the supported ones."""
    models = " by models of version v1" if version == "v1" else ""
    return ModelError(
        "unsupported_language",
        f"The language {str(language)[:40]!a} cannot be spoken{models}.",
        hint=f"Use one of {', '.join(supported)}.",
    )


@cache
def load_language(code: str) -> LanguageFrontend:
    """Return the front end of a code of `REGISTRY`; raise `missing_part` where one of its libraries is missing."""
    entry = REGISTRY[code]
    missing = [name for name in entry.requires if find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        several = f"{entry.name} needs {names}, which are not installed."
        raise ModelError(
            "missing_part",
            f"{entry.name} needs {names}, which is not installed." if len(missing) == 1 else several,
            hint=f'pip install "sovitsd[{code}]"',
        )
    module, _, class_name = entry.implementation.partition(":")
    frontend: LanguageFrontend = getattr(import_module(module), class_name)()
    return frontend
