"""The beginning and the end that every utterance has for the models, whatever punctuation its text has.

All texts of the trainings end with punctuation. Behind the last word of another one a model goes on as it likes: the
word is cut off, or babble follows. A very short text needs something before it, too.
"""

from __future__ import annotations

from dataclasses import replace

from GPT_SoVITS.text import PhonemizedText
from GPT_SoVITS.text.phonemization.result import PhonemizedSegment
from GPT_SoVITS.text.symbols import PUNCTUATION

SENTENCE_ENDS = "，。？！,.?!~:：—…"
"""Characters behind which upstream adds nothing."""
ENDINGS = frozenset("!?…,.")
"""Phonemes with which an utterance ends cleanly: a dash, the sixth of the punctuation, is spoken on."""
FULL_STOP, COMMA = ".", ","
SHORT = 6
"""Phonemes below which nano needs a pause at the start; without it the first consonant is lost."""


def one_line(text: str) -> str:
    """Return the text without line breaks, and without whitespace at its ends."""
    return " ".join(text.split("\n")).strip()


def with_sentence_end(line: str, language: str) -> str:
    """Return a line with punctuation at its end, as all texts in the official training data (inference-pipeline §3)."""
    if not line or line[-1] in SENTENCE_ENDS:
        return line
    return line + ("." if language == "en" else "。")


def with_ending(phonemized: PhonemizedText, version: str) -> PhonemizedText:
    """Return a text whose last phoneme is one of `ENDINGS`: the front end may have dropped what the text ends with.

    `version`: of the symbols, v1 or v2.
    """
    if phonemized.phonemes[-1] in ENDINGS:
        return phonemized
    *others, last = phonemized.segments
    return _joined(phonemized, [*others, _extended(last, after=FULL_STOP)], version)


def with_pause_before(phonemized: PhonemizedText, version: str) -> PhonemizedText:
    """Return a very short text with a comma before it, unless it begins with punctuation."""
    if len(phonemized.phonemes) >= SHORT or phonemized.phonemes[0] in PUNCTUATION:
        return phonemized
    first, *others = phonemized.segments
    return _joined(phonemized, [_extended(first, before=COMMA), *others], version)


def _extended(segment: PhonemizedSegment, *, before: str = "", after: str = "") -> PhonemizedSegment:
    """Return a segment with a phoneme of punctuation at an end; it stands for itself in the normalized text."""
    start, end = ([phoneme] if phoneme else [] for phoneme in (before, after))
    counts = segment.word2ph
    return replace(
        segment,
        norm_text=before + segment.norm_text + after,
        phonemes=[*start, *segment.phonemes, *end],
        sources=[*(None for _ in start), *segment.sources, *(None for _ in end)],
        word2ph=None if counts is None else [*(1 for _ in start), *counts, *(1 for _ in end)],
    )


def _joined(phonemized: PhonemizedText, segments: list[PhonemizedSegment], version: str) -> PhonemizedText:
    return PhonemizedText.join(segments, version, skipped=phonemized.skipped, retried=phonemized.retried)
