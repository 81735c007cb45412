"""What the front end makes of a text: phonemes, their ids, and where their text features come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from GPT_SoVITS.text.symbols import PUNCTUATION, phoneme_ids
from GPT_SoVITS.text.tracing import Span


@dataclass(frozen=True, slots=True)
class PhonemizedSegment:
    """A segment of one language, ready for its text feature."""

    language: str
    text: str
    norm_text: str
    phonemes: list[str]
    word2ph: list[int] | None
    """Phonemes of each character of `norm_text`; None for languages that do not count them."""
    sources: list[Span | None] = field(default_factory=list)
    """The stretch of the whole text that each phoneme was read from; None for one that stands for nothing in it."""


@dataclass(frozen=True, slots=True)
class PhonemizedText:
    """A text as the model reads it."""

    phonemes: list[str]
    ids: list[int]
    word2ph: list[int] | None
    """Phonemes of each character of `norm_text`; None unless every segment has them."""
    norm_text: str
    skipped: list[tuple[int, str]]
    """(position in the text, fragment) of what no language here could read."""
    segments: list[PhonemizedSegment] = field(default_factory=list)
    """In order; the text feature of each is computed by itself."""
    retried: bool = False
    """Whether a full stop was put before a very short text."""

    @classmethod
    def join(
        cls,
        segments: list[PhonemizedSegment],
        version: str,
        *,
        skipped: Sequence[tuple[int, str]] = (),
        retried: bool = False,
    ) -> PhonemizedText:
        """Return the segments as one text, with the ids of a model version."""
        phonemes = [phoneme for segment in segments for phoneme in segment.phonemes]
        counts = [segment.word2ph for segment in segments]
        return cls(
            phonemes=phonemes,
            ids=phoneme_ids(phonemes, version),
            word2ph=None if None in counts else [count for word2ph in counts for count in word2ph or ()],
            norm_text="".join(segment.norm_text for segment in segments),
            skipped=list(skipped),
            segments=segments,
            retried=retried,
        )

    @property
    def spoken_phonemes(self) -> list[str]:
        """The phonemes without punctuation."""
        return [phoneme for phoneme in self.phonemes if phoneme not in PUNCTUATION]

    @property
    def sources(self) -> list[Span | None]:
        """The stretch of the text that each phoneme was read from; None for one that stands for nothing in it."""
        return [source for segment in self.segments for source in segment.sources]

    def moved(self, place: Callable[[Span], Span | None]) -> PhonemizedText:
        """Return the same with other sources, as of a text that something was put before."""
        segments = [
            replace(segment, sources=[source and place(source) for source in segment.sources])
            for segment in self.segments
        ]
        return replace(self, segments=segments)

    @property
    def feature_columns(self) -> list[tuple[int, int] | None]:
        """For each phoneme where its text feature comes from: (segment, character of its `norm_text`).

        None where there is no feature, which is everywhere but in Mandarin (docs/spec/text-frontend.md §8).
        """
        columns: list[tuple[int, int] | None] = []
        for index, segment in enumerate(self.segments):
            if segment.language == "zh" and segment.word2ph is not None:
                columns += [(index, character) for character, count in enumerate(segment.word2ph) for _ in range(count)]
            else:
                columns += [None] * len(segment.phonemes)
        return columns
