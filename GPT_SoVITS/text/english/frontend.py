"""English: words to ARPAbet phonemes by dictionary, context and rules; a small network guesses what is left.

docs/spec/text-frontend.md §7.1 describes upstream's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from GPT_SoVITS.text.english import normalize as english_normalize
from GPT_SoVITS.text.english.lexicon import compound, homograph, lexicon
from GPT_SoVITS.text.segment_parts import SegmentPart, SegmentPhonemes, SourcedPhoneme, normalize_parts
from GPT_SoVITS.text.tracing import Span, TracedText

TOKEN = re.compile(r"[A-Za-z][A-Za-z'\-]{1,60}[A-Za-z](?![A-Za-z])|[A-Za-z]{1,200}|[^\sA-Za-z]")
SPELLED_CAPITALS = frozenset("AM PM IT US AI ID OR IN ER OS IS UK EU UN TV PC CD GI IE HE AD BE PE".split())  # noqa: SIM905
"""Initialisms that are also words, or that a dictionary of words misreads; spelled unless all around is in capitals."""
MAX_WORD_LENGTH = 40
"""Letters; a longer run is no word and is spelled."""
SIBILANTS = ("S", "Z", "SH", "ZH", "CH", "JH")
VOICELESS = ("P", "T", "K", "F", "TH", "HH")


class English:
    """American English."""

    code = "en"

    def is_readable(self, character: str) -> bool:
        """Return whether English says the character, or may pass over it."""
        return english_normalize.is_readable(character)

    def find_unreadable(self, text: str) -> list[tuple[int, str]]:
        """Return []: every word can be guessed or spelled."""
        return []

    def normalize(self, text: str) -> str:
        """Return the text in words of ASCII letters, spaces and `' . , ? ! -`."""
        return english_normalize.normalize(text)

    def rewrite(self, text: TracedText) -> TracedText:
        """Normalize a text and keep track of its characters."""
        return english_normalize.rewrite(text)

    def phonemize(self, parts: Sequence[SegmentPart], version: str) -> SegmentPhonemes:
        """Return phonemes without counts for each character: English has no text feature."""
        pieces: list[TracedText] = []
        overrides: dict[int, Sequence[str]] = {}
        length = 0
        for part, text in zip(parts, normalize_parts(parts, self.rewrite, self._stand_in)):
            if pieces and pieces[-1].text[-1:].isalpha() and text.text[:1].isalpha():
                pieces.append(TracedText(" ", [Span(part.start, part.start)]))
                length += 1
            if part.units:
                overrides[length] = part.units
            if text.text:
                pieces.append(text)
                length += len(text)
        norm_text = TracedText.join(pieces)
        return SegmentPhonemes.of_words(norm_text.text, self._phonemize_words(norm_text, overrides))

    def _stand_in(self, part: SegmentPart) -> str:
        return re.sub("[^A-Za-z]", "", self.normalize(part.text))[:100] or "it"

    def _phonemize_words(self, norm_text: TracedText, overrides: Mapping[int, Sequence[str]]) -> list[SourcedPhoneme]:
        """Return the phonemes; `overrides`: those of the words that begin at a position of `norm_text`."""
        matches = list(TOKEN.finditer(norm_text.text))
        # The words on both sides of each, "" for punctuation or an end.
        words = ["", *(match[0] if match[0][0].isalpha() else "" for match in matches), ""]
        phonemes: list[SourcedPhoneme] = []
        for match, before, after in zip(matches, words, words[2:]):
            source = norm_text.span(*match.span())
            spoken = overrides.get(match.start()) or self._phonemize_token(match[0], before, after)
            phonemes += [SourcedPhoneme(phoneme, source) for phoneme in spoken]
        return [SourcedPhoneme(",", None), *phonemes] if len(phonemes) < 4 else phonemes

    def _phonemize_token(self, written: str, before: str, after: str) -> list[str]:
        if not written[0].isalpha():
            return ["-" if written == "'" else written]
        word = written.lower()
        if len(word) == 1:
            return ["EY1"] if written == "A" else lexicon()[word].split()
        if written.isupper() and _is_initialism(written, before, after):
            return spell(word)
        return homograph(word, before.lower(), after.lower()) or self.pronounce(word, written)

    def pronounce(self, word: str, written: str = "") -> list[str]:
        """Return the phonemes of a lower-case word of letters, apostrophes and hyphens; `written` has its capitals."""
        phonemes = lexicon().get(word)
        return phonemes.split() if phonemes is not None else self.pronounce_unknown(word, written)

    def pronounce_unknown(self, word: str, written: str) -> list[str]:
        """Return the phonemes of a word that is not in the dictionary."""
        if word.endswith("'s") and len(word) > 2:
            return add_s(self.pronounce(word[:-2], written[:-2]))
        if "-" in word:
            return [phoneme for part in word.split("-") if part for phoneme in self.pronounce(part)]
        if "'" in word:
            return self.pronounce(word.replace("'", ""))
        if written[-1:] == "s" and len(written) > 2 and written[:-1].isupper():
            return add_s(spell(word[:-1]))
        if len(word) <= 3 or len(word) > MAX_WORD_LENGTH:
            return spell(word)
        if parts := compound(word):
            return [phoneme for part in parts for phoneme in lexicon()[part].split()]
        return guess(word)


def _is_initialism(token: str, before: str, after: str) -> bool:
    """Return whether capitals are spelled: where they are no word; among other words in capitals they are only loud."""
    if not token.isalpha():
        return False
    if token.lower() not in lexicon():
        return len(token) <= 5 and not any(len(side) > 1 and side.isupper() for side in (before, after))
    loud = all(not side or side.isupper() for side in (before, after)) and bool(before or after)
    return token in SPELLED_CAPITALS and not loud


def add_s(stem: list[str]) -> list[str]:
    """Return the phonemes of a stem with its plural or possessive ending."""
    if stem and stem[-1] in SIBILANTS:
        return [*stem, "AH0", "Z"]
    return [*stem, "S" if stem and stem[-1] in VOICELESS else "Z"]


def spell(word: str) -> list[str]:
    """Return the phonemes of the names of a lower-case word's letters."""
    return [phoneme for letter in word for phoneme in (["EY1"] if letter == "a" else lexicon()[letter].split())]


def guess(word: str) -> list[str]:
    """Return what the network guesses for a lower-case word; spell it where that is nothing."""
    from GPT_SoVITS.text.english.oov import predict

    return [phoneme for phoneme in predict(word) if not phoneme.startswith("<") and phoneme != "UW"] or spell(word)
