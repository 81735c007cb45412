"""How a user says what a word sounds like: syllables, phones, kana, Hangul, or other words.

The notation tells the language: `yin2 hang2` (or `yín háng`) is Mandarin, or Jyutping where the text is Cantonese;
`G IH1 F` are English phones in ARPAbet; `h a [ sh i` are the Japanese phones of the symbol table, with the marks of the
pitch; kana and Hangul stand for themselves; `=so vits` are words to say instead.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.segmentation import HAN, HANGUL, KANA
from GPT_SoVITS.text.symbols import symbols

LONGEST_READING = 500
"""Characters of one notation."""
VOWELS = frozenset("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split())  # noqa: SIM905
CONSONANTS = frozenset("B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split())  # noqa: SIM905
JAPANESE = frozenset(
    (  # noqa: SIM905
        "a i u e o N cl b by ch d dy f g gy h hy j k ky m my n ny p py r ry s sh t ts ty v w y z [ ]"
    ).split()
)
TONE_MARKS = {"\u0304": "1", "\u0301": "2", "\u030c": "3", "\u0300": "4"}
SYLLABLE = re.compile(r"([a-zü]+?)([0-6])")
IDEOGRAPHS = re.compile(f"[{HAN}]+")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a stretch of a text is to be read as, or only in which language."""

    start: int
    end: int
    language: str
    """A language code; of phones the language that they belong to."""
    units: tuple[str, ...] = ()
    """Mandarin and Cantonese: one syllable an ideograph; English and Japanese: phones. None where only the language
    is given."""


@dataclass(frozen=True, slots=True)
class Pronunciation:
    """What a notation means."""

    say: str
    """What stands in the text: the word itself, or what is said in its place."""
    language: str = ""
    """"" where the text around decides."""
    units: tuple[str, ...] = ()


def read_notation(word: str, notation: str, *, cantonese: bool = False, alphabet: str = "") -> Pronunciation:
    """The pronunciation that a notation gives a word.

    `cantonese`: whether syllables are Jyutping where no alphabet says so. `alphabet` is one of `ALPHABETS`, or "" to
    tell by the notation. Raises ModelError `bad_pronunciation`.
    """
    notation = notation.strip()
    if not notation or len(notation) > LONGEST_READING:
        raise bad(f"The reading of {word[:40]!r} is {'too long' if notation else 'empty'}.")
    if alphabet:
        return _alphabet(alphabet)(word, notation)
    if notation.startswith("="):
        return _other_words(word, notation[1:].strip())
    return _kind(notation, cantonese)(word, notation)


def is_cantonese(code: str) -> bool:
    """Whether syllables in a text of a language code are Jyutping."""
    return code in ("yue", "all_yue", "auto_yue")


def _kind(notation: str, cantonese: bool) -> Callable[[str, str], Pronunciation]:
    letters = notation.replace(" ", "")
    if re.fullmatch(f"[{KANA}]+", letters):
        return _kana
    if re.fullmatch(f"[{HANGUL}]+", letters):
        return _hangul
    if re.search(r"[a-zü][0-9]", letters):
        return _jyutping if cantonese else _pinyin
    if any(mark in unicodedata.normalize("NFD", letters) for mark in TONE_MARKS):
        return _pinyin
    return _japanese if re.search("[a-z]", letters) else _arpabet


def _alphabet(name: str) -> Callable[[str, str], Pronunciation]:
    known = ALPHABETS.get(name.strip().lower().removeprefix("x-amazon-").removeprefix("x-"))
    if known is None:
        raise bad(f"The alphabet {name[:40]!r} is not known here.", hint=f"Use one of {', '.join(ALPHABETS)}.")
    return known


def _other_words(word: str, words: str) -> Pronunciation:
    if not words:
        raise bad(f"Nothing is to be said in place of {word[:40]!r}.")
    return Pronunciation(words)


def _pinyin(word: str, notation: str) -> Pronunciation:
    syllables = _syllables(_tone_digits(notation.lower().replace("u:", "ü")), "Pinyin", "hang2")
    syllables = [syllable.replace("ü", "v").replace("0", "5") for syllable in syllables]
    for syllable in syllables:
        if syllable[:-1] not in table("pinyin_to_symbols") or syllable[-1] == "6":
            raise bad(f"{syllable!r} is no syllable of Mandarin.", hint="Write Pinyin with a tone of 1 to 5: hang2.")
    return _per_ideograph(word, syllables, "zh")


def _jyutping(word: str, notation: str) -> Pronunciation:
    syllables = _syllables(notation.lower(), "Jyutping", "hong4")
    for syllable in syllables:
        base, tone = syllable[:-1], syllable[-1]
        if tone == "0" or (base not in table("jyutping_split") and f"Y{base}{tone}" not in symbols("v2")):
            raise bad(f"{syllable!r} is no syllable of Cantonese.", hint="Write Jyutping with a tone of 1 to 6: hong4.")
    return _per_ideograph(word, syllables, "yue")


def _syllables(notation: str, name: str, example: str) -> list[str]:
    """The syllables, with blanks between them or without."""
    found = ["".join(match.groups()) for match in SYLLABLE.finditer(notation)]
    if not found or "".join(found) != re.sub(r"[\s']", "", notation):
        raise bad(
            f"{notation[:40]!r} is no {name}.", hint=f"Write each syllable with the digit of its tone: {example}."
        )
    return found


def _tone_digits(notation: str) -> str:
    """`háng` → `hang2`; what has digits already stays."""
    return " ".join(_tone_digit(part) for part in notation.split())


def _tone_digit(syllable: str) -> str:
    plain = unicodedata.normalize("NFD", syllable)
    tones = [TONE_MARKS[mark] for mark in plain if mark in TONE_MARKS]
    if syllable[-1:].isdecimal() or len(tones) > 1:
        return syllable
    bare = "".join(character for character in plain if character not in TONE_MARKS)
    return unicodedata.normalize("NFC", bare) + (tones[0] if tones else "5")


def _per_ideograph(word: str, syllables: list[str], language: str) -> Pronunciation:
    if not IDEOGRAPHS.fullmatch(word) or len(word) != len(syllables):
        raise bad(
            f"{word[:40]!r} is given {len(syllables)} syllables; each ideograph takes one.",
            hint="For a word that is not written in ideographs, say other words: `=` and the words.",
        )
    return Pronunciation(word, language, tuple(syllables))


def _arpabet(word: str, notation: str) -> Pronunciation:
    phones = notation.upper().split()
    for phone in phones:
        if phone in VOWELS:
            raise bad(f"The vowel {phone} needs its stress.", hint=f"Write {phone}1 (stressed), {phone}2 or {phone}0.")
        if phone not in CONSONANTS and not (phone[:-1] in VOWELS and phone[-1] in "012"):
            raise bad(f"{phone[:20]!r} is no phone of English in ARPAbet.", hint="GIF is `G IH1 F`, for example.")
    return Pronunciation(word, "en", tuple(phones))


def _japanese(word: str, notation: str) -> Pronunciation:
    phones = notation.split()
    for phone in phones:
        if phone not in JAPANESE:
            raise bad(
                f"{phone[:20]!r} is no Japanese phone.",
                hint="Write kana, or phones with the marks of the pitch: `h a [ sh i`; Pinyin needs its tones: `zi4`.",
            )
    return Pronunciation(word, "ja", tuple(phones))


def _kana(word: str, notation: str) -> Pronunciation:
    return Pronunciation(_written_in(notation, KANA, "kana"), "ja")


def _hangul(word: str, notation: str) -> Pronunciation:
    return Pronunciation(_written_in(notation, HANGUL, "Hangul"), "ko")


def _written_in(notation: str, letters: str, name: str) -> str:
    if not re.fullmatch(f"[{letters} ]+", notation):
        raise bad(f"{notation[:40]!r} is not written in {name} alone.")
    return notation


ALPHABETS: dict[str, Callable[[str, str], Pronunciation]] = {
    "pinyin": _pinyin,
    "jyutping": _jyutping,
    "arpabet": _arpabet,
    "kana": _kana,
    "yomigana": _kana,
    "hangul": _hangul,
    "openjtalk": _japanese,
}
"""Their names in SSML; with `x-` or `x-amazon-` before them as well."""


def bad(message: str, hint: str = "") -> ModelError:
    return ModelError("bad_pronunciation", message, hint=hint or "docs/text.md shows how readings are written.")
