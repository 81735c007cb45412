"""Text to phone ids: cut by language, clean each piece, and say what could not be read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.languages import Language, load, resolve, spoken, unsupported
from GPT_SoVITS.text.markup.dictionary import Pronunciations, apply_dictionary
from GPT_SoVITS.text.markup.notation import Reading, is_cantonese
from GPT_SoVITS.text.phonemization.segments import Part, Piece, divide, read_parts, with_pauses
from GPT_SoVITS.text.symbols import MARKS, known_phones, phone_ids

FEWEST_PHONES = 6
"""A shorter text is read again with a full stop before it: the model stumbles over less."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """One piece of one language, ready for its text feature."""

    language: str
    text: str
    norm_text: str
    phones: list[str]
    word2ph: list[int] | None
    """Phones of each character of `norm_text`; None for languages that do not count them."""


@dataclass(frozen=True, slots=True)
class Phonemes:
    """A text as the model reads it."""

    phones: list[str]
    ids: list[int]
    word2ph: list[int] | None
    """Phones of each character of `norm_text`, where every piece has them."""
    norm_text: str
    skipped: list[tuple[int, str]]
    """(position in the text, fragment) of what no language here could read."""
    pieces: list[Cleaned] = field(default_factory=list)
    """In order; the text feature of each is computed by itself."""
    retried: bool = False

    @classmethod
    def of(
        cls,
        pieces: list[Cleaned],
        version: str,
        *,
        skipped: Sequence[tuple[int, str]] = (),
        retried: bool = False,
    ) -> Phonemes:
        """The pieces one after the other."""
        phones = [phone for piece in pieces for phone in piece.phones]
        counts = [piece.word2ph for piece in pieces]
        return cls(
            phones=phones,
            ids=phone_ids(phones, version),
            word2ph=None if None in counts else [count for part in counts for count in part or ()],
            norm_text="".join(piece.norm_text for piece in pieces),
            skipped=list(skipped),
            pieces=pieces,
            retried=retried,
        )

    @property
    def feature_columns(self) -> list[tuple[int, int] | None]:
        """For each phone where its text feature comes from: (piece, character of its `norm_text`).

        None where there is no feature, which is everywhere but in Mandarin (specification text-frontend §8).
        """
        columns: list[tuple[int, int] | None] = []
        for index, piece in enumerate(self.pieces):
            if piece.language == "zh" and piece.word2ph is not None:
                columns += [(index, character) for character, count in enumerate(piece.word2ph) for _ in range(count)]
            else:
                columns += [None] * len(piece.phones)
        return columns


class Frontend:
    """The way from text to phones, over a set of languages (by default all that the package has)."""

    def __init__(self, languages: Mapping[str, Language] | None = None) -> None:
        self._languages = languages or {}

    @classmethod
    def with_models(cls, models: Path) -> Frontend:
        """All languages; Mandarin with the polyphone model g2pW where the official weights below `models` have it."""
        from GPT_SoVITS.text.mandarin.frontend import Mandarin
        from GPT_SoVITS.text.mandarin.g2pw import g2pw_reader

        reader = g2pw_reader(models)
        return cls({"zh": Mandarin(reader)} if reader else None)

    def language(self, code: str, version: str = "v2") -> Language | None:
        """The language of a piece; None when it cannot be spoken here, or not by models of the version."""
        if code in self._languages:
            return self._languages[code]
        return load(code) if code in spoken(version) else None

    def clean(self, text: str, language: str, version: str = "v2") -> Cleaned:
        """One language, no cutting; an empty text is a single pause in English, and nothing in any other language.

        Raises ModelError `unsupported_language`, and `missing_part` where a library of the language is not installed.
        """
        speaker = self.language(language, version)
        if speaker is None:
            raise unsupported(language, version, spoken(version))
        return self._clean_parts(language, [Part(text, 0)], speaker, version)

    def process(
        self,
        text: str,
        language: str,
        version: str = "v2",
        *,
        retry: bool = True,
        pronunciations: Mapping[str, str] | None = None,
        readings: Sequence[Reading] = (),
    ) -> Phonemes:
        """A text of any length, in a language code or one of its names.

        `retry`: whether a text of very few phones is read again with a full stop before it, as synthesis wants it.
        `pronunciations`: a user's own, word → notation (docs/text.md). `readings`: those of places in the text, in
        order, as `read_markup` finds them; the dictionary does not touch them.

        Raises ModelError `unsupported_language`, `empty_text` when there is nothing to say, `unreadable_text` when
        there is, but none of it in a language that can be spoken here, `missing_part` when a library of a language
        that the text has is not installed, and `bad_pronunciation`.
        """
        code = resolve(language, version)
        if pronunciations:
            dictionary = Pronunciations(pronunciations, cantonese=is_cantonese(code))
            applied = apply_dictionary(text, readings, dictionary)
            said = self.process(applied.text, code, version, retry=retry, readings=applied.readings)
            return replace(said, skipped=[(applied.origin(place), lost) for place, lost in said.skipped])
        pieces, skipped = self._readable_pieces(text, code, version, readings)
        cleaned = self._clean_pieces(pieces, version)
        if not any(_says_something(piece.norm_text) for piece in cleaned):
            raise nothing_to_say(skipped, version)
        retried = retry and sum(len(piece.phones) for piece in cleaned) < FEWEST_PHONES
        if retried:
            stop = "." if not text.lstrip()[:1].isdecimal() else ". " if pieces[0].language == "en" else "。"  # not 0.5
            moved = [replace(one, start=one.start + len(stop), end=one.end + len(stop)) for one in readings]
            cleaned = self._clean_pieces(self._readable_pieces(stop + text, code, version, moved)[0], version)
        return Phonemes.of(cleaned, version, skipped=skipped, retried=retried)

    def says_something(self, text: str, code: str, readings: Sequence[Reading] = ()) -> bool:
        """Whether `process` would find words in the text; without loading a dictionary for what is usual."""
        pieces, _ = self._readable_pieces(text, code, readings=readings)
        return any(
            part.units or _says_something(self._speaker(piece).normalise(part.text))
            for piece in pieces
            for part in piece.parts
        )

    def skipped(self, text: str, code: str) -> list[tuple[int, str]]:
        return self._readable_pieces(text, code)[1]

    def _speaker(self, piece: Piece, version: str = "v2") -> Language:
        speaker = self.language(piece.language, version)
        assert speaker is not None, "pieces without a language are skipped before"
        return speaker

    def _clean_pieces(self, pieces: list[Piece], version: str) -> list[Cleaned]:
        cleaned = (
            self._clean_parts(piece.language, piece.parts, self._speaker(piece, version), version) for piece in pieces
        )
        return [piece for piece in cleaned if piece.norm_text.strip()]

    def _clean_parts(self, language: str, parts: Sequence[Part], speaker: Language, version: str) -> Cleaned:
        text = "".join(part.text for part in parts)
        if language == "zh":
            parts = [one for part in parts for one in with_pauses(part)]
        if len(parts) == 1 and not parts[0].units:
            norm_text = speaker.normalise(text)
            phones, word2ph = speaker.phonemise(norm_text, version)
        else:
            norm_text, phones, word2ph = read_parts(speaker, parts, version)
        return Cleaned(language, text, norm_text, known_phones(phones, version), word2ph)

    def _readable_pieces(
        self, text: str, code: str, version: str = "v2", readings: Sequence[Reading] = ()
    ) -> tuple[list[Piece], list[tuple[int, str]]]:
        """The pieces with a blank for what their language cannot read, and what that was."""
        pieces: list[Piece] = []
        skipped: list[tuple[int, str]] = []
        for piece in divide(text, code, readings):
            speaker = self.language(piece.language, version)
            if speaker is None:
                whole = "".join(part.text for part in piece.parts)
                lead = len(whole) - len(whole.lstrip())
                skipped.append((piece.parts[0].start + lead, whole.strip()))
                continue
            parts = []
            for part in piece.parts:
                own, lost = _readable(part, speaker)
                parts.append(own)
                skipped += [(part.start + position, fragment) for position, fragment in lost]
            pieces.append(Piece(piece.language, parts))
        return pieces, skipped


def _readable(part: Part, speaker: Language) -> tuple[Part, list[tuple[int, str]]]:
    if part.units:
        return part, []
    readable, lost = _keep(part.text, speaker)
    readable = re.sub(" {2,}", " ", readable)
    return Part(readable.strip(" ") if lost else readable, part.start), lost


def nothing_to_say(skipped: list[tuple[int, str]], version: str = "v2") -> ModelError:
    """The error for a text without a word to say."""
    if not skipped:
        return ModelError("empty_text", "The text holds nothing to say.", hint="Send at least one word.")
    position, fragment = skipped[0]
    return ModelError(
        "unreadable_text",
        f"No part of the text can be read aloud; at character {position} it has {fragment[:20]!a}.",
        hint=f"Languages that can be spoken: {', '.join(spoken(version))}.",
    )


def _keep(text: str, speaker: Language) -> tuple[str, list[tuple[int, str]]]:
    """The text with blanks for what the language cannot read, and where that was."""
    known = {character: speaker.readable(character) for character in set(text)}
    lost: list[tuple[int, str]] = []
    if not all(known.values()):
        unknown = "".join(re.escape(character) for character, is_known in known.items() if not is_known)
        lost = [(match.start(), match[0]) for match in re.finditer(f"[{unknown}]+", text)]
        text = "".join(character if known[character] else " " for character in text)
    if unread := speaker.unread(text):
        characters = list(text)
        for start, fragment in unread:
            characters[start : start + len(fragment)] = " " * len(fragment)
        text, lost = "".join(characters), _joined([*lost, *unread])
    return text, lost


def _joined(fragments: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """In order, neighbours as one."""
    joined: list[tuple[int, str]] = []
    for start, fragment in sorted(fragments):
        if joined and joined[-1][0] + len(joined[-1][1]) == start:
            start, fragment = joined[-1][0], joined.pop()[1] + fragment
        joined.append((start, fragment))
    return joined


def _says_something(norm_text: str) -> bool:
    return any(character not in MARKS and unicodedata.category(character)[0] in "LN" for character in norm_text)
