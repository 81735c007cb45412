"""What a language is to the front end, the languages that can be spoken, and the codes that requests name them by.

A new language is one file with a class of the shape of `Language` and one line in `REGISTRY`;
docs/adding-a-language.md goes through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

from GPT_SoVITS.errors import ModelError


class Language(Protocol):
    """One language's way from text to phones. Calls must take time linear in the length of the text."""

    code: str

    def readable(self, character: str) -> bool:
        """Whether the character is read aloud, or is a mark or a blank that needs no reading."""
        ...

    def unread(self, text: str) -> list[tuple[int, str]]:
        """(position, fragment) of readable characters that a dictionary does not know where they stand; often []."""
        ...

    def normalise(self, text: str) -> str:
        """Numbers, units and signs written out as far as `phonemise` does not do that by itself."""
        ...

    def phonemise(self, normalised: str, version: str) -> tuple[list[str], list[int] | None]:
        """Phones, and for languages that count them the number of phones of each character."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a language is found."""

    name: str
    """For people."""
    implementation: str
    """`module:class`; imported on first use."""
    needs: tuple[str, ...] = ()
    """Modules that the extra of the language's code installs."""
    symbols_of_v1: bool = False
    """Whether the symbol table of v1 has its phones; every later version has those of all languages."""


REGISTRY = {
    "zh": Entry("Mandarin", "GPT_SoVITS.text.mandarin.frontend:Mandarin", ("jieba", "pypinyin"), symbols_of_v1=True),
    "en": Entry("English", "GPT_SoVITS.text.english.frontend:English", symbols_of_v1=True),
    "ja": Entry("Japanese", "GPT_SoVITS.text.japanese.frontend:Japanese", ("pyopenjtalk",), symbols_of_v1=True),
    "ko": Entry("Korean", "GPT_SoVITS.text.korean.frontend:Korean", ("g2pk2", "jamo", "mecab")),
    "yue": Entry("Cantonese", "GPT_SoVITS.text.cantonese.frontend:Cantonese", ("ToJyutping",)),
}

CODES = ("auto", "auto_yue", "zh", "en", "ja", "ko", "yue", "all_zh", "all_ja", "all_ko", "all_yue")
"""`auto`: every script its language; `auto_yue`: the same with Cantonese for Mandarin. A language's own code: Latin
words are English, a number goes with its neighbours, all else is that language. `all_…`: numbers as well."""
CODES_OF_V1 = ("auto", "zh", "en", "ja", "all_zh", "all_ja")

ALIASES = {
    "": "auto",
    "multilingual": "auto",
    "多语种混合": "auto",
    "多语种混合(粤语)": "auto_yue",
    "auto-yue": "auto_yue",
    **dict.fromkeys(("english", "eng", "en-us", "en-gb", "英文", "英语"), "en"),
    **dict.fromkeys(("chinese", "mandarin", "cmn", "zho", "zh-cn", "zh-hans", "zh-tw", "zh-hant", "中英混合"), "zh"),
    **dict.fromkeys(("all-zh", "中文"), "all_zh"),
    **dict.fromkeys(("japanese", "jp", "jpn", "ja-jp", "日英混合"), "ja"),
    **dict.fromkeys(("all-ja", "日文", "日本語"), "all_ja"),
    **dict.fromkeys(("korean", "kor", "ko-kr", "韩英混合"), "ko"),
    **dict.fromkeys(("all-ko", "韩文", "한국어"), "all_ko"),
    **dict.fromkeys(("cantonese", "zh-hk", "zh-yue", "yue-hk", "粤英混合"), "yue"),
    **dict.fromkeys(("all-yue", "粤语", "粵語"), "all_yue"),
}
"""Other names of the codes, those of the original's interface among them; in lower case, `-` between their parts."""

LANGUAGES: dict[str, str] = {**{code: code for code in CODES}, **ALIASES}


def codes(version: str = "v2") -> tuple[str, ...]:
    """The codes that texts for models of a version may have."""
    return CODES_OF_V1 if version == "v1" else CODES


def spoken(version: str = "v2") -> Sequence[str]:
    """The codes of single languages that a version's models can speak."""
    return tuple(code for code, entry in REGISTRY.items() if entry.symbols_of_v1 or version != "v1")


def resolve(language: str, version: str = "v2") -> str:
    """The code that a name stands for; raises `unsupported_language` for one that the version cannot speak."""
    name = str(language).strip().lower()
    code = LANGUAGES.get(name) or LANGUAGES.get(name.replace("_", "-"))
    if code is None or code not in codes(version):
        raise unsupported(language, version, codes(version))
    return code


def unsupported(language: str, version: str, known: Sequence[str]) -> ModelError:
    models = " by models of version v1" if version == "v1" else ""
    return ModelError(
        "unsupported_language",
        f"The language {str(language)[:40]!a} cannot be spoken{models}.",
        hint=f"Use one of {', '.join(known)}.",
    )


@cache
def load(code: str) -> Language:
    """The language of a code of `REGISTRY`, made on first use; raises `missing_part` without its libraries."""
    entry = REGISTRY[code]
    missing = [name for name in entry.needs if find_spec(name) is None]
    if missing:
        raise ModelError(
            "missing_part",
            f"{entry.name} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed.",
            hint=f'pip install "sovitsd[{code}]"',
        )
    module, _, name = entry.implementation.partition(":")
    language: Language = getattr(import_module(module), name)()
    return language
