"""The notations in which a user writes a pronunciation: syllables, phonemes, kana, Hangul, or other words.

The notation tells the language: `yin2 hang2` (or `yín háng`) is Mandarin, or Jyutping where the text is Cantonese;
`G IH1 F` are English phonemes in ARPAbet; `h a [ sh i` are the Japanese phonemes of the symbol table, with the signs of
the pitch; kana and Hangul stand for themselves; `=so vits` are words to say instead.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from common.limits import MAX_PRONUNCIATION_LENGTH
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.markup.ipa import from_ipa
from GPT_SoVITS.text.segmentation import HAN, HANGUL, KANA, language_of_last_letters
from GPT_SoVITS.text.symbols import symbols

VOWELS = frozenset("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split())  # noqa: SIM905
CONSONANTS = frozenset("B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split())  # noqa: SIM905
JAPANESE_PHONEMES = frozenset(
    (  # noqa: SIM905
        "a i u e o N cl b by ch d dy f g gy h hy j k ky m my n ny p py r ry s sh t ts ty v w y z [ ]"
    ).split()
)
TONE_DIGITS = {"\u0304": "1", "\u0301": "2", "\u030c": "3", "\u0300": "4"}
"""Combining diacritic → the tone that it stands for in Pinyin."""
SYLLABLE = re.compile(r"([a-zü]+?)([0-6])")
IPA = "ipa"
"""The alphabet that all languages share."""
IDEOGRAPHS = re.compile(f"[{HAN}]+")


@dataclass(frozen=True, slots=True)
class InlinePronunciation:
    """The pronunciation, or only the language, of a stretch of a text."""

    start: int
    end: int
    language: str
    """A language code; for phonemes the language that they belong to."""
    units: tuple[str, ...] = ()
    """Mandarin and Cantonese: a syllable for each ideograph; English and Japanese: phonemes. Empty where only the
    language is given."""


@dataclass(frozen=True, slots=True)
class Pronunciation:
    """The meaning of a notation."""

    text: str
    """What stands in the text: the word itself, or what is said in its place."""
    language: str = ""
    """"" where the text around decides."""
    units: tuple[str, ...] = ()
    """As those of `InlinePronunciation`."""


def read_notation(
    word: str, notation: str, *, cantonese: bool = False, alphabet: str = "", language: str = ""
) -> Pronunciation:
    """Return the pronunciation that a notation gives a word.

    `cantonese`: whether syllables are Jyutping where no alphabet says so. `alphabet` is one of `ALPHABETS` or `ipa`, or
    "" to tell by the notation. `language`: the code under which the word is read, which `ipa` needs. Raises ModelError
    `bad_pronunciation`.
    """
    notation = notation.strip()
    if not notation or len(notation) > MAX_PRONUNCIATION_LENGTH:
        raise bad_pronunciation(f"The pronunciation of {word[:40]!r} is {'too long' if notation else 'empty'}.")
    if alphabet:
        read = ALPHABETS.get(alphabet.strip().lower().removeprefix("x-amazon-").removeprefix("x-"))
        if read is None and alphabet.strip().lower() == IPA:
            return _read_ipa(word, notation, language or "auto")
        if read is None:
            raise bad_pronunciation(
                f"The alphabet {alphabet[:40]!r} is not known here.", hint=f"Use one of {', '.join((*ALPHABETS, IPA))}."
            )
        return read(word, notation)
    if notation.startswith("="):
        words = notation[1:].strip()
        if not words:
            raise bad_pronunciation(f"Nothing is to be said in place of {word[:40]!r}.")
        return Pronunciation(words)
    letters = notation.replace(" ", "")
    if re.fullmatch(f"[{KANA}]+", letters):
        return _read_kana(word, notation)
    if re.fullmatch(f"[{HANGUL}]+", letters):
        return _read_hangul(word, notation)
    if re.search(r"[a-zü][0-9]", letters):
        return _read_jyutping(word, notation) if cantonese else _read_pinyin(word, notation)
    if any(diacritic in unicodedata.normalize("NFD", letters) for diacritic in TONE_DIGITS):
        return _read_pinyin(word, notation)
    return _read_japanese(word, notation) if re.search("[a-z]", letters) else _read_arpabet(word, notation)


def _read_ipa(word: str, notation: str, code: str) -> Pronunciation:
    """Return the pronunciation that IPA means in the language that the word is read in."""
    language = language_of_last_letters(word)
    if language in ("", "zh") and code.removeprefix("all_") in ("ja", "ko", "yue", "zh", "en"):
        language = code.removeprefix("all_")
    if language in ("", "zh"):
        language = "yue" if is_cantonese(code) else language or "en"
    try:
        own = from_ipa(notation, language)
    except ValueError as error:
        raise bad_pronunciation(
            f"{notation[:40]!r} is no IPA of {language}: {error}.",
            hint="docs/text.md shows an example of each language.",
        ) from None
    readers = {"en": _read_arpabet, "zh": _read_pinyin, "yue": _read_jyutping, "ja": _read_japanese, "ko": _read_hangul}
    return readers[language](word, own)


def is_cantonese(code: str) -> bool:
    """Return whether syllables in a text of a language code are Jyutping."""
    return code in ("yue", "all_yue", "auto_yue")


def bad_pronunciation(message: str, hint: str = "") -> ModelError:
    """Return the error for a pronunciation that cannot be read."""
    return ModelError("bad_pronunciation", message, hint=hint or "docs/text.md shows how pronunciations are written.")


def _read_pinyin(word: str, notation: str) -> Pronunciation:
    with_digits = " ".join(map(_with_tone_digit, notation.lower().replace("u:", "ü").split()))
    syllables = _split_syllables(with_digits, "Pinyin", "hang2")
    syllables = [syllable.replace("ü", "v").replace("0", "5") for syllable in syllables]
    for syllable in syllables:
        if syllable[:-1] not in table("pinyin_to_symbols") or syllable[-1] == "6":
            raise bad_pronunciation(
                f"{syllable!r} is no syllable of Mandarin.", hint="Write Pinyin with a tone of 1 to 5: hang2."
            )
    return _syllable_for_each_ideograph(word, syllables, "zh")


def _with_tone_digit(syllable: str) -> str:
    """Return `hang2` for `háng`; leave what has a digit already."""
    decomposed = unicodedata.normalize("NFD", syllable)
    tones = [TONE_DIGITS[character] for character in decomposed if character in TONE_DIGITS]
    if syllable[-1:].isdecimal() or len(tones) > 1:
        return syllable
    bare = "".join(character for character in decomposed if character not in TONE_DIGITS)
    return unicodedata.normalize("NFC", bare) + (tones[0] if tones else "5")


def _read_jyutping(word: str, notation: str) -> Pronunciation:
    syllables = _split_syllables(notation.lower(), "Jyutping", "hong4")
    for syllable in syllables:
        base, tone = syllable[:-1], syllable[-1]
        if tone == "0" or (base not in table("jyutping_split") and f"Y{base}{tone}" not in symbols("v2")):
            raise bad_pronunciation(
                f"{syllable!r} is no syllable of Cantonese.", hint="Write Jyutping with a tone of 1 to 6: hong4."
            )
    return _syllable_for_each_ideograph(word, syllables, "yue")


def _split_syllables(notation: str, name: str, example: str) -> list[str]:
    """Return the syllables of a notation, with or without spaces between them."""
    syllables = ["".join(match.groups()) for match in SYLLABLE.finditer(notation)]
    if not syllables or "".join(syllables) != re.sub(r"[\s']", "", notation):
        raise bad_pronunciation(
            f"{notation[:40]!r} is no {name}.", hint=f"Write each syllable with the digit of its tone: {example}."
        )
    return syllables


def _syllable_for_each_ideograph(word: str, syllables: list[str], language: str) -> Pronunciation:
    if not IDEOGRAPHS.fullmatch(word) or len(word) != len(syllables):
        raise bad_pronunciation(
            f"{word[:40]!r} is given {len(syllables)} syllables; each ideograph takes one.",
            hint="For a word that is not written in ideographs, say other words: `=` and the words.",
        )
    return Pronunciation(word, language, tuple(syllables))


def _read_arpabet(word: str, notation: str) -> Pronunciation:
    phonemes = notation.upper().split()
    for phoneme in phonemes:
        if phoneme in VOWELS:
            raise bad_pronunciation(
                f"The vowel {phoneme} needs its stress.",
                hint=f"Write {phoneme}1 (stressed), {phoneme}2 or {phoneme}0.",
            )
        if phoneme not in CONSONANTS and not (phoneme[:-1] in VOWELS and phoneme[-1] in "012"):
            raise bad_pronunciation(
                f"{phoneme[:20]!r} is no phone of English in ARPAbet.", hint="GIF is `G IH1 F`, for example."
            )
    return Pronunciation(word, "en", tuple(phonemes))


def _read_japanese(word: str, notation: str) -> Pronunciation:
    phonemes = notation.split()
    for phoneme in phonemes:
        if phoneme not in JAPANESE_PHONEMES:
            raise bad_pronunciation(
                f"{phoneme[:20]!r} is no Japanese phone.",
                hint="Write kana, or phones with the marks of the pitch: `h a [ sh i`; Pinyin needs its tones: `zi4`.",
            )
    return Pronunciation(word, "ja", tuple(phonemes))


def _read_kana(word: str, notation: str) -> Pronunciation:
    if not re.fullmatch(f"[{KANA} ]+", notation):
        raise bad_pronunciation(f"{notation[:40]!r} is not written in kana alone.")
    return Pronunciation(notation, "ja")


def _read_hangul(word: str, notation: str) -> Pronunciation:
    if not re.fullmatch(f"[{HANGUL} ]+", notation):
        raise bad_pronunciation(f"{notation[:40]!r} is not written in Hangul alone.")
    return Pronunciation(notation, "ko")


ALPHABETS: dict[str, Callable[[str, str], Pronunciation]] = {
    "pinyin": _read_pinyin,
    "jyutping": _read_jyutping,
    "arpabet": _read_arpabet,
    "kana": _read_kana,
    "yomigana": _read_kana,
    "hangul": _read_hangul,
    "openjtalk": _read_japanese,
}
"""Their names in SSML; with `x-` or `x-amazon-` before them as well."""
