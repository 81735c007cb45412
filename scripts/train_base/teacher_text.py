"""Texts as the teacher reads them: the words of the product's own front end, so that it says what training expects."""

from __future__ import annotations

from functools import cache

from GPT_SoVITS.text import phonemize
from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.english.frontend import TOKEN, English
from GPT_SoVITS.text.english.lexicon import homograph
from GPT_SoVITS.text.mandarin.word_segmentation import tag_words
from GPT_SoVITS.text.symbols import PUNCTUATION

UNSTRESSED = frozenset(
    (  # noqa: SIM905
        "a an the of to in on at for and but or nor as if than that so is was are were be been am has had have do does "
        "did can could will would shall should may might must i you he she it we they me him her us them my your his "
        "its our their from by with"
    ).split()
)
"""English words that a sentence does not stress, whatever the dictionary says of them alone."""


def spoken_words(text: str, language: str) -> list[list[str]] | None:
    """Return the words of a text: ARPAbet phonemes, or syllables of pinyin with a tone; punctuation by itself.

    None where the words are not what the front end makes of the whole text.
    """
    return _english(text) if language == "en" else _mandarin(text)


def _english(text: str) -> list[list[str]] | None:
    english = English()
    words: list[list[str]] = []
    tokens = [match[0] for match in TOKEN.finditer(english.normalize(text))]
    sides = ["", *(token if token[0].isalpha() else "" for token in tokens), ""]
    for token, before, after in zip(tokens, sides, sides[2:], strict=False):
        if not token[0].isalpha():
            words.append([token])
            continue
        word = token.lower()
        words.append(homograph(word, before.lower(), after.lower()) or english.pronounce(word, token))
        if token == "A":
            words[-1] = ["EY1"]
    if [phoneme for word in words for phoneme in word] != phonemize(text, "en", version="nano").phonemes:
        return None
    lower = [token.lower() for token in tokens]
    return [
        [phoneme.replace("1", "0").replace("2", "0") for phoneme in word] if token in UNSTRESSED else word
        for token, word in zip(lower, words, strict=True)
    ]


def _mandarin(text: str) -> list[list[str]] | None:
    result = phonemize(text, "zh", version="nano")
    if result.word2ph is None:
        return None
    syllables: list[str] = []
    rest = iter(result.phonemes)
    for count in result.word2ph:
        phonemes = [next(rest) for _ in range(count)]
        if count == 1:
            syllables.append(phonemes[0])
        elif base := _syllables().get((phonemes[0], phonemes[1][:-1])):
            syllables.append(base + phonemes[1][-1])
        else:
            return None
    words: list[list[str]] = []
    position = 0
    for word in tag_words(result.norm_text):
        units = syllables[position : position + len(word.text)]
        position += len(word.text)
        words += [[unit] for unit in units] if word.text[0] in PUNCTUATION else [units]
    return words


@cache
def _syllables() -> dict[tuple[str, str], str]:
    """Return the syllable of pinyin by its initial and its final."""
    syllables: dict[tuple[str, str], str] = {}
    for base, (initial, final) in table("pinyin_to_symbols").items():
        syllables.setdefault((initial, final), base)
    return syllables
