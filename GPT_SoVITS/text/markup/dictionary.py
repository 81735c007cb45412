"""A dictionary of a user's own pronunciations: word → notation, found in a text in one pass."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from common.limits import MAX_PRONUNCIATION_WORD_LENGTH, MAX_PRONUNCIATIONS
from common.text_origins import TextOrigin, cut_origins, moved, replaced
from GPT_SoVITS.text.markup.notation import InlinePronunciation, Pronunciation, bad_pronunciation, read_notation
from GPT_SoVITS.text.tracing import Span


class DictionaryMatch(NamedTuple):
    """A word of the dictionary in a text."""

    start: int
    end: int
    pronunciation: Pronunciation


class PronunciationDictionary:
    """Words and their pronunciations; of two words that begin at one place the longer one counts.

    A word in lower case is matched in capitals as well, one with a capital only as it is written. A word that begins
    or ends in a Latin letter or a digit is matched where no other such character touches it.
    """

    def __init__(self, entries: Mapping[str, str], *, cantonese: bool = False) -> None:
        """Read the notations of `entries`; raise ModelError `bad_pronunciation`, with the word, when one is wrong."""
        if len(entries) > MAX_PRONUNCIATIONS:
            raise bad_pronunciation(f"The dictionary has {len(entries)} words; {MAX_PRONUNCIATIONS} is the most.")
        self._pronunciations: dict[str, Pronunciation] = {}
        lengths: dict[str, set[int]] = {}
        for word, notation in entries.items():
            if not word.strip() or len(word) > MAX_PRONUNCIATION_WORD_LENGTH:
                reason = "too long" if word.strip() else "empty"
                raise bad_pronunciation(f"The dictionary's word {word[:40]!r} is {reason}.")
            self._pronunciations[word] = read_notation(word, notation, cantonese=cantonese)
            lengths.setdefault(word[0], set()).add(len(word))
        self._lengths = {first: sorted(own, reverse=True) for first, own in lengths.items()}

    def find(self, text: str) -> Iterator[DictionaryMatch]:
        """Yield every word of the dictionary in a text, in order; none overlaps another."""
        # Lower case only where it is one character too, so that positions stay.
        lower = "".join(low if len(low := character.lower()) == 1 else character for character in text)
        position = 0
        while position < len(text):
            match = self._match_at(text, lower, position)
            if match:
                yield match
            position = match.end if match else position + 1

    def _match_at(self, text: str, lower: str, start: int) -> DictionaryMatch | None:
        for form in (text, lower):
            for length in self._lengths.get(form[start], ()):
                word = form[start : start + length]
                pronunciation = self._pronunciations.get(word)
                if pronunciation is None or not (form is text or word.islower()):
                    continue
                if _stands_alone(text, start, start + length):
                    return DictionaryMatch(start, start + length, pronunciation)
        return None


def _stands_alone(text: str, start: int, end: int) -> bool:
    def continues(left: str, right: str) -> bool:
        return _is_latin_or_digit(left) and _is_latin_or_digit(right)

    before = text[start - 1] if start else " "
    after = text[end] if end < len(text) else " "
    return not continues(before, text[start]) and not continues(text[end - 1], after)


def _is_latin_or_digit(character: str) -> bool:
    """Return True for Latin letters with their diacritics, and digits; other scripts put no spaces between words."""
    return character.isalnum() and character < "\u0250"


class AnnotatedTextBuilder:
    """A text under construction, with its pronunciations and where each stretch of it came from."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.pronunciations: list[InlinePronunciation] = []
        self.starts: list[int] = [0]
        """Where the stretches of the text begin,"""
        self.origins: list[int] = [0]
        """and where in the source what they stand for begins."""
        self.text_origins: list[TextOrigin] = []
        """Where in a text with markup the stretches come from."""
        self._length = 0

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.texts)

    def add(
        self,
        text: str,
        origin: int,
        language: str = "",
        units: tuple[str, ...] = (),
        origins: Sequence[TextOrigin] = (),
    ) -> None:
        """Append a stretch, with a pronunciation where a language is given."""
        if not text:
            return
        self.text_origins += moved(origins, self._length)
        start, self._length = self._length, self._length + len(text)
        self.texts.append(text)
        self.starts.append(start)
        self.origins.append(origin)
        if language:
            self.pronunciations.append(InlinePronunciation(start, self._length, language, units))

    def add_with_dictionary(
        self,
        text: str,
        origin: int,
        dictionary: PronunciationDictionary,
        language: str = "",
        origins: Sequence[TextOrigin] = (),
    ) -> None:
        """Append a stretch without pronunciations of its own; `language`: the one that markup gives it."""
        end = 0
        for match in dictionary.find(text):
            self.add(text[end : match.start], origin + end, language, origins=cut_origins(origins, end, match.start))
            pronunciation = match.pronunciation
            own = cut_origins(origins, match.start, match.end)
            if own and pronunciation.text != text[match.start : match.end]:
                own = replaced(text[match.start : match.end], own[0].source_start, own[-1].source_end)
            self.add(
                pronunciation.text, origin + match.start, pronunciation.language or language, pronunciation.units, own
            )
            end = match.end
        self.add(text[end:], origin + end, language, origins=cut_origins(origins, end, len(text)))


@dataclass(frozen=True, slots=True)
class DictionaryResult:
    """A text after its dictionary was applied."""

    text: str
    pronunciations: list[InlinePronunciation]
    starts: list[int]
    origins: list[int]

    def origin(self, position: int) -> int:
        """Return the position in the source text for one in `text`."""
        index = bisect_right(self.starts, position) - 1
        origin = self.origins[index] + position - self.starts[index]
        if index + 1 < len(self.origins):
            return min(origin, max(self.origins[index + 1] - 1, self.origins[index]))
        return origin

    def source(self, span: Span) -> Span:
        """Return the stretch of the source text that one of `text` stands for."""
        return Span(self.origin(span.start), self.origin(max(span.end - 1, span.start)) + 1)


def apply_dictionary(
    text: str, pronunciations: Sequence[InlinePronunciation], dictionary: PronunciationDictionary
) -> DictionaryResult:
    """Put other words in place, and give each other word of the dictionary its pronunciation.

    `pronunciations`, in order, stay as they are: the dictionary does not touch them.
    """
    builder = AnnotatedTextBuilder()
    end = 0
    for pronunciation in pronunciations:
        builder.add_with_dictionary(text[end : pronunciation.start], end, dictionary)
        stretch = text[pronunciation.start : pronunciation.end]
        if pronunciation.units:
            builder.add(stretch, pronunciation.start, pronunciation.language, pronunciation.units)
        else:
            builder.add_with_dictionary(stretch, pronunciation.start, dictionary, pronunciation.language)
        end = pronunciation.end
    builder.add_with_dictionary(text[end:], end, dictionary)
    return DictionaryResult(builder.text, builder.pronunciations, builder.starts, builder.origins)
