"""When each word of a sentence is heard: from the phoneme that every frame of its audio speaks.

Beside a pause, the frames say no more than that it is about there: silence sounds alike in the pause and in a closure.
So a word that stands beside one begins where it is heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from GPT_SoVITS.synthesis.acoustic_decoder import FRAMES_PER_SECOND
from GPT_SoVITS.text import PhonemizedText, Span, written_words
from GPT_SoVITS.text.words import PAUSE_PHONEMES

LEVELS_PER_SECOND = 200
QUIET = 0.03
"""Of the peak of a word: what is quieter is silence."""
QUIET_LEVELS = 3
"""That many in a row are silence, fewer a gap between two periods of a voice."""


class SpokenPhoneme(NamedTuple):
    """A phoneme, and when it is heard; in seconds from the start of the utterance."""

    phoneme: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word as it is written, and when it is heard."""

    text_start: int
    text_end: int
    """Characters of the utterance's text: the words follow one another without a gap."""
    start: float
    end: float
    """Seconds from the start of the utterance."""
    phonemes: tuple[SpokenPhoneme, ...] = ()


class PeakLevels:
    """Measures the peak of every two-hundredth of a second of a wave that comes in pieces."""

    def __init__(self, sample_rate: int) -> None:
        self._window = sample_rate // LEVELS_PER_SECOND
        self._rest = torch.empty(0)

    def add(self, wave: Tensor) -> list[float]:
        """Return the peaks of the windows that are complete with the samples (N,)."""
        wave = torch.cat([self._rest.to(wave), wave])
        whole = len(wave) // self._window * self._window
        self._rest = wave[whole:]
        levels: list[float] = wave[:whole].reshape(-1, self._window).abs().amax(dim=1).tolist() if whole else []
        return levels


def _index(seconds: float) -> int:
    return round(seconds * LEVELS_PER_SECOND)


def _runs(quiet: Sequence[bool], start: int, end: int) -> list[tuple[int, int]]:
    """Return where it is quiet for a while between two levels, as (first, end)."""
    runs: list[tuple[int, int]] = []
    for is_quiet, group in groupby(range(start, min(end, len(quiet))), lambda index: quiet[index]):
        indices = list(group)
        if is_quiet and len(indices) >= QUIET_LEVELS:
            runs.append((indices[0], indices[-1] + 1))
    return runs


class WordTimer:
    """Takes the phonemes of an utterance's frames as they come, and gives each word once its end is known."""

    def __init__(
        self, text: str, phonemized: PhonemizedText, atoms: Sequence[Span] = (), *, delay_seconds: float = 0.0
    ) -> None:
        """Begin before the first frame.

        Args:
            text: The utterance's.
            phonemized: The same as phonemes.
            atoms: Stretches of the text in which no word begins.
            delay_seconds: By which a frame is later than what it says.
        """
        self._delay_seconds = delay_seconds
        self._words = written_words(text, phonemized, atoms)
        self._phonemes = phonemized.phonemes
        self._begins = [0]
        """The first frame of each phoneme that was reached, in order."""
        self._frames = 0
        self._returned = 0
        self._returned_phonemes = 1
        """Those up to the end of the last word that was returned, and the one that ends it."""
        self._levels: list[float] = []

    def add(self, spoken: Sequence[int], levels: Sequence[float] = (), *, last: bool = False) -> list[SpokenWord]:
        """Add frames, and return the words that end in them; with the `last` ones all that are left.

        `levels`: the peaks of the audio in every two-hundredth of a second, as `PeakLevels` measures them.
        """
        self._levels += levels
        for frame, phoneme in enumerate(spoken, self._frames):
            # A joint of two chunks may lead back by a phoneme, which was begun all the same; what is further ahead
            # begins again, but for the words that were returned.
            if phoneme + 2 < len(self._begins):
                del self._begins[max(phoneme + 2, self._returned_phonemes) :]
            if phoneme >= len(self._begins):
                self._begins += [frame] * (phoneme + 1 - len(self._begins))
        self._frames += len(spoken)
        words: list[SpokenWord] = []
        for word in self._words[self._returned :]:
            first, end = word.phonemes
            if end >= len(self._begins) and not last:
                break
            start, stop = self._edges(first, end)
            borders = [start, *(min(max(self._begin(index), start), stop) for index in range(first + 1, end)), stop]
            phonemes = tuple(
                SpokenPhoneme(self._phonemes[index], *times)
                for index, times in zip(range(first, end), pairwise(borders), strict=True)
            )
            words.append(SpokenWord(word.start, word.end, start, stop, phonemes))
            self._returned_phonemes = end + 1
        self._returned += len(words)
        return words

    def _edges(self, first: int, end: int) -> tuple[float, float]:
        """Return when a word of these phonemes begins and ends: beside a pause where its silence ends and begins."""
        before, after = first, end
        while before > 0 and self._phonemes[before - 1] in PAUSE_PHONEMES:
            before -= 1
        while after < len(self._phonemes) and self._phonemes[after] in PAUSE_PHONEMES:
            after += 1
        start, stop = self._begin(first), self._begin(end)
        own = self._levels[_index(start) : _index(stop)]
        if not own:
            return start, stop
        quiet = [level < QUIET * max(own) for level in self._levels[: _index(self._begin(after))]]
        # The word has a loud level, so that neither silence reaches over it.
        loudest = _index(start) + max(range(len(own)), key=own.__getitem__)
        if before < first or first == 0:
            runs = [run for run in _runs(quiet, _index(self._begin(before)), loudest) if run[0] <= _index(start)]
            start = runs[-1][1] / LEVELS_PER_SECOND if runs else start
        if after > end or end == len(self._phonemes):
            runs = [run for run in _runs(quiet, loudest, len(quiet)) if run[1] >= _index(stop)]
            stop = runs[0][0] / LEVELS_PER_SECOND if runs else stop
        return start, stop

    def _begin(self, phoneme: int) -> float:
        """Return when a phoneme begins; the end of the audio where that is never."""
        if phoneme >= len(self._begins):
            return self._frames / FRAMES_PER_SECOND
        return max(0.0, self._begins[phoneme] / FRAMES_PER_SECOND - self._delay_seconds)
