"""What a language is to the front end, and the languages that can be spoken.

A new language is one file with a class of the shape of `Language` and one line in `MODULES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Protocol

from GPT_SoVITS.errors import ModelError


class Language(Protocol):
    """One language's way from text to phones. Calls must take time linear in the length of the text."""

    code: str

    def readable(self, character: str) -> bool:
        """Whether the character is read aloud, or is a mark or a blank that needs no reading."""
        ...

    def normalise(self, text: str) -> str:
        """Numbers, units and signs written out as words; only what `phonemise` knows is left."""
        ...

    def phonemise(self, normalised: str, version: str) -> tuple[list[str], list[int] | None]:
        """Phones, and for languages with a text feature the number of phones of each character."""
        ...


MODULES = {
    "en": "GPT_SoVITS.text.english:English",
    "zh": "GPT_SoVITS.text.mandarin:Mandarin",
}

CODES: dict[str, str] = {
    "auto": "auto",
    "en": "en",
    "zh": "zh",
    "all_zh": "all_zh",
}
"""The codes of requests that the languages above can answer; two languages make `auto` worth having."""

ALIASES = {
    "english": "en",
    "en-us": "en",
    "en-gb": "en",
    "eng": "en",
    "chinese": "zh",
    "mandarin": "zh",
    "cmn": "zh",
    "zho": "zh",
    "zh-cn": "zh",
    "zh-hans": "zh",
    "zh-tw": "zh",
    "zh-hant": "zh",
    "中文": "all_zh",
    "英文": "en",
    "中英混合": "zh",
    "多语种混合": "auto",
    "multilingual": "auto",
    "": "auto",
}
"""Other names of the codes, in lower case, with `-` between their parts."""

LANGUAGES: dict[str, str] = {**CODES, **ALIASES}


def resolve(language: str) -> str:
    """The code that a name stands for; raises `unsupported_language` for one that nothing here can speak."""
    name = str(language).strip().lower()
    code = LANGUAGES.get(name) or LANGUAGES.get(name.replace("_", "-"))
    if code is None:
        raise ModelError(
            "unsupported_language",
            f"The language {str(language)[:40]!a} cannot be spoken.",
            hint=f"Use one of {', '.join(CODES)}.",
        )
    return code


@cache
def load(code: str) -> Language:
    """The language of a code of `MODULES`, made on first use."""
    module, _, name = MODULES[code].partition(":")
    language: Language = getattr(import_module(module), name)()
    return language


def spoken() -> Sequence[str]:
    """The codes of single languages that can be phonemised."""
    return tuple(MODULES)
