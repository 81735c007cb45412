"""The path from a text to phoneme ids: cut by language, phonemize each segment, and report what could not be read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.languages import (
    LanguageFrontend,
    load_language,
    resolve_language,
    spoken_languages,
    unsupported_language,
)
from GPT_SoVITS.text.markup.dictionary import PronunciationDictionary, apply_dictionary
from GPT_SoVITS.text.markup.notation import InlinePronunciation, is_cantonese
from GPT_SoVITS.text.phonemization.result import PhonemizedSegment, PhonemizedText
from GPT_SoVITS.text.phonemization.segments import AnnotatedSegment, annotated_segments
from GPT_SoVITS.text.segment_parts import SegmentPart
from GPT_SoVITS.text.symbols import PUNCTUATION, replace_unknown
from GPT_SoVITS.text.tracing import Span, TracedText

MIN_PHONEMES = 6
"""A shorter text is read again with a full stop before it: the model stumbles over less."""


class TextFrontend:
    """Texts to phonemes, over a set of languages."""

    def __init__(self, languages: Mapping[str, LanguageFrontend] | None = None) -> None:
        """Use `languages` (code → front end) in place of those of the registry, which are loaded when first needed."""
        self._languages = languages or {}

    @classmethod
    def with_models(cls, models: Path) -> TextFrontend:
        """Return a front end whose Mandarin has the polyphone model g2pW, where `models` has the official weights."""
        from GPT_SoVITS.text.mandarin.frontend import Mandarin
        from GPT_SoVITS.text.mandarin.g2pw import open_g2pw

        g2pw = open_g2pw(models)
        return cls({"zh": Mandarin(g2pw)} if g2pw else None)

    def phonemize(
        self,
        text: str,
        language: str,
        version: str = "v2",
        *,
        retry: bool = True,
        pronunciations: Mapping[str, str] | None = None,
        inline_pronunciations: Sequence[InlinePronunciation] = (),
    ) -> PhonemizedText:
        """Return the phonemes of a text of any length, in a language code or one of its names.

        `retry`: read a text of very few phonemes again with a full stop before it, as synthesis needs it.
        `pronunciations`: a user's dictionary, word → notation (docs/text.md). `inline_pronunciations`: those of
        stretches of the text, in order, as `read_markup` finds them; the dictionary does not touch them.

        Raises ModelError `unsupported_language`, `empty_text` when there is nothing to say, `unreadable_text` when
        there is, but none of it in a language that can be spoken here, `missing_part` when a library of a language
        that the text has is not installed, and `bad_pronunciation`.
        """
        code = resolve_language(language, version)
        if pronunciations:
            dictionary = PronunciationDictionary(pronunciations, cantonese=is_cantonese(code))
            replaced = apply_dictionary(text, inline_pronunciations, dictionary)
            phonemized = self.phonemize(
                replaced.text, code, version, retry=retry, inline_pronunciations=replaced.pronunciations
            )
            skipped = [(replaced.origin(position), fragment) for position, fragment in phonemized.skipped]
            return replace(phonemized, skipped=skipped).moved(replaced.source)
        segments, skipped = self._readable_segments(text, code, version, inline_pronunciations)
        phonemized_segments = self._phonemize_segments(segments, version)
        if not any(_has_words(segment.norm_text) for segment in phonemized_segments):
            raise nothing_to_say(skipped, version)
        stop = ""
        retried = retry and sum(len(segment.phonemes) for segment in phonemized_segments) < MIN_PHONEMES
        if retried:
            stop, first = ".", text.lstrip()[:1]
            if segments[0].language == "en":
                stop = ". " if first.isalnum() else "."  # neither 0.5 nor a domain's .com
            elif first.isdecimal():
                stop = "。"
            shifted = [
                replace(pronunciation, start=pronunciation.start + len(stop), end=pronunciation.end + len(stop))
                for pronunciation in inline_pronunciations
            ]
            segments, _ = self._readable_segments(stop + text, code, version, shifted)
            phonemized_segments = self._phonemize_segments(segments, version)
        phonemized = PhonemizedText.join(phonemized_segments, version, skipped=skipped, retried=retried)
        return phonemized.moved(partial(_without_start, length=len(stop))) if retried else phonemized

    def phonemize_segment(self, segment: AnnotatedSegment, version: str = "v2") -> PhonemizedSegment:
        """Return the phonemes of a segment as it is, those that the version lacks replaced by UNK.

        Raises ModelError `unsupported_language`, and `missing_part` where a library of the language is not installed.
        """
        frontend = self.language(segment.language, version)
        if frontend is None:
            raise unsupported_language(segment.language, version, spoken_languages(version))
        norm_text, phonemes, word2ph, sources = frontend.phonemize(segment.parts, version)
        return PhonemizedSegment(
            segment.language, segment.text, norm_text, replace_unknown(phonemes, version), word2ph, sources
        )

    def language(self, code: str, version: str = "v2") -> LanguageFrontend | None:
        """Return the front end of a single language; None when it, or a model of the version, cannot speak it."""
        if code in self._languages:
            return self._languages[code]
        return load_language(code) if code in spoken_languages(version) else None

    def has_words(self, text: str, code: str, inline_pronunciations: Sequence[InlinePronunciation] = ()) -> bool:
        """Return whether `phonemize` would find words in the text; a usual text needs no dictionary for that."""
        segments, _ = self._readable_segments(text, code, "v2", inline_pronunciations)
        for language, parts in segments:
            frontend = self.language(language)
            if frontend and any(part.units or _has_words(frontend.normalize(part.text)) for part in parts):
                return True
        return False

    def skipped(self, text: str, code: str) -> list[tuple[int, str]]:
        """Return (position, fragment) of what no language here can read."""
        return self._readable_segments(text, code, "v2", ())[1]

    def _phonemize_segments(self, segments: Sequence[AnnotatedSegment], version: str) -> list[PhonemizedSegment]:
        phonemized = [self.phonemize_segment(segment, version) for segment in segments]
        return [segment for segment in phonemized if segment.norm_text.strip()]

    def _readable_segments(
        self, text: str, code: str, version: str, pronunciations: Sequence[InlinePronunciation]
    ) -> tuple[list[AnnotatedSegment], list[tuple[int, str]]]:
        """Return the segments with a space for what their language cannot read, and what that was."""
        segments: list[AnnotatedSegment] = []
        skipped: list[tuple[int, str]] = []
        for segment in annotated_segments(text, code, pronunciations):
            frontend = self.language(segment.language, version)
            if frontend is None:
                indent = len(segment.text) - len(segment.text.lstrip())
                skipped.append((segment.parts[0].start + indent, segment.text.strip()))
                continue
            parts = []
            for part in segment.parts:
                if part.units:
                    parts.append(part)
                    continue
                blanked, unreadable = _blank_unreadable(part.text, frontend)
                readable = TracedText.written(blanked, part.start).sub(" {2,}", " ")
                if unreadable:
                    readable = readable.strip(" ")
                spans = tuple(readable.spans or ()) if len(readable) < len(part.text) else ()
                parts.append(SegmentPart(readable.text, part.start, spans=spans))
                skipped += [(part.start + position, fragment) for position, fragment in unreadable]
            segments.append(AnnotatedSegment(segment.language, parts))
        return segments, skipped


def _without_start(source: Span, length: int) -> Span | None:
    """Return a source in a text before which so many characters were put; None where it lies in them."""
    return None if source.end <= length else Span(max(source.start - length, 0), source.end - length)


def nothing_to_say(skipped: Sequence[tuple[int, str]], version: str = "v2") -> ModelError:
    """Return the error for a text without a word to say; `skipped`: what no language could read of it."""
    if not skipped:
        return ModelError("empty_text", "The text holds nothing to say.", hint="Send at least one word.")
    position, fragment = skipped[0]
    return ModelError(
        "unreadable_text",
        f"No part of the text can be read aloud; at character {position} it has {fragment[:20]!a}.",
        hint=f"Languages that can be spoken: {', '.join(spoken_languages(version))}.",
    )


def _has_words(norm_text: str) -> bool:
    return any(character not in PUNCTUATION and unicodedata.category(character)[0] in "LN" for character in norm_text)


def _blank_unreadable(text: str, frontend: LanguageFrontend) -> tuple[str, list[tuple[int, str]]]:
    """Put spaces in place of what a language cannot read; return (position, fragment) of it, neighbors as one."""
    readable = {character: frontend.is_readable(character) for character in set(text)}
    fragments: list[tuple[int, str]] = []
    if not all(readable.values()):
        unreadable = "".join(re.escape(character) for character, is_readable in readable.items() if not is_readable)
        fragments = [(match.start(), match[0]) for match in re.finditer(f"[{unreadable}]+", text)]
        text = "".join(character if readable[character] else " " for character in text)
    without_pronunciation = frontend.find_unreadable(text)
    if not without_pronunciation:
        return text, fragments
    characters = list(text)
    for start, fragment in without_pronunciation:
        characters[start : start + len(fragment)] = " " * len(fragment)
    merged: list[tuple[int, str]] = []
    for start, fragment in sorted([*fragments, *without_pronunciation]):
        if merged and merged[-1][0] + len(merged[-1][1]) == start:
            start, fragment = merged[-1][0], merged.pop()[1] + fragment
        merged.append((start, fragment))
    return "".join(characters), merged
