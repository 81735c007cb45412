"""The languages as the reference reads them, where the product reads them better: for comparison with its outputs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from single_language import phonemize_segment

from GPT_SoVITS.dataset.folder import Annotation
from GPT_SoVITS.text import PhonemizedText, TextFrontend, spoken_languages
from GPT_SoVITS.text.english.frontend import English, add_s, guess, spell
from GPT_SoVITS.text.japanese.frontend import (
    PUNCTUATION_PHONEMES,
    PUNCTUATION_RUN,
    Japanese,
    cut_for_openjtalk,
    phonemes_with_accents,
)
from GPT_SoVITS.text.korean.frontend import Korean
from GPT_SoVITS.text.segment_parts import SourcedPhoneme
from GPT_SoVITS.text.symbols import UNKNOWN
from GPT_SoVITS.text.tracing import TracedText

JAPANESE_RUN = re.compile("[A-Za-z0-9々\u3040-\u30ff\u4e00-\u9fff１-９Ａ-Ｚａ-ｚ\uff66-\uff9d]+")
REPLACED_IN_TRAINING_LISTS = {
    **dict.fromkeys(("zh", "yue"), str.maketrans({"%": "减", "￥": ","})),
    **dict.fromkeys(("en", "ja", "ko"), str.maketrans({"%": "-", "￥": ","})),
}
"""What the reference changes before it reads a line: a percent sign is a hyphen, and so 减 in Chinese."""


class ReferenceEnglish(English):
    """Cuts unknown words by how often words occur, and guesses "thirty-four" as one word."""

    def pronounce_unknown(self, word: str, written: str) -> list[str]:
        import wordsegment

        if len(word) <= 3:
            return spell(word)
        if word.endswith("'s"):
            return add_s(self.pronounce(word[:-2]))
        if not wordsegment.UNIGRAMS:
            wordsegment.load()
        parts = list(wordsegment.segment(word))
        if len(parts) > 1:
            return [phoneme for part in parts for phoneme in self.pronounce(part)]
        return guess(word)


class ReferenceJapanese(Japanese):
    """Leaves numbers with punctuation and symbols in pieces, and gives punctuation without a phoneme an UNK."""

    def rewrite(self, text: TracedText) -> TracedText:
        return text.sub(PUNCTUATION_RUN, r"\1")

    def phonemize_normalized(self, norm_text: TracedText) -> list[SourcedPhoneme]:
        text = norm_text.text.replace("％", "パーセント").lower()
        phonemes: list[SourcedPhoneme] = []
        end = 0
        for run in JAPANESE_RUN.finditer(text):
            phonemes += self._punctuation(text[end : run.start()])
            for part in cut_for_openjtalk(run[0]):
                phonemes += phonemes_with_accents(TracedText.written(part))
            end = run.end()
        return phonemes + self._punctuation(text[end:])

    def _punctuation(self, text: str) -> list[SourcedPhoneme]:
        return [
            SourcedPhoneme(UNKNOWN if character in ":;—–―．" else PUNCTUATION_PHONEMES.get(character, UNKNOWN), None)
            for character in text
            if character == "\n" or not character.isspace()
        ]


class ReferenceKorean(Korean):
    """Leaves all numbers and symbols to g2pk2."""

    def rewrite(self, text: TracedText) -> TracedText:
        return text


def phonemize_training_lines(
    annotations: Iterable[Annotation], frontend: TextFrontend
) -> list[tuple[str, PhonemizedText]]:
    """Read whole lines in their one language, and their percent and yuan signs as the reference does.

    Lines of other languages, and lines without a word, are left out; each line comes with its file name.
    """
    lines = []
    for annotation in annotations:
        if annotation.language in spoken_languages():
            text = annotation.text.translate(REPLACED_IN_TRAINING_LISTS[annotation.language])
            segment = phonemize_segment(text, annotation.language, frontend=frontend)
            if segment.norm_text:
                name = annotation.path.replace("\\", "/").rpartition("/")[2]
                lines.append((name, PhonemizedText.join([segment], "v2")))
    return lines
