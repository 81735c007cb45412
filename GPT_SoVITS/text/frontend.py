"""Text to phone ids: cut by language, clean each piece, and say what could not be read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.language import MODULES, Language, load, resolve, spoken
from GPT_SoVITS.text.segment import Piece, segment
from GPT_SoVITS.text.symbols import MARKS, known_phones, phone_ids

FEWEST_PHONES = 6
"""A shorter text is read again with a full stop before it: the model stumbles over less."""
PAUSES = {"￥": "SP2", "^": "SP3"}
"""Signs that ask for a long pause in Mandarin; ￥ only where no amount of money stands beside it."""
PAUSE_SIGN = re.compile(r"\^|(?<![0-9])￥(?![0-9-])")


@dataclass(frozen=True, slots=True)
class Cleaned:
    """One piece of one language, ready for its text feature."""

    language: str
    text: str
    norm_text: str
    phones: list[str]
    word2ph: list[int] | None
    """Phones of each character of `norm_text`; None for languages without a text feature."""


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


class Frontend:
    """The way from text to phones, over a set of languages (by default all that the package has)."""

    def __init__(self, languages: Mapping[str, Language] | None = None) -> None:
        self._languages = languages or {}

    def language(self, code: str) -> Language | None:
        """The language of a piece; None when it cannot be spoken here."""
        if code in self._languages:
            return self._languages[code]
        return load(code) if code in MODULES else None

    def clean(self, text: str, language: str, version: str = "v2") -> Cleaned:
        """One language, no cutting; an empty text is a single pause in English, and nothing in Mandarin."""
        speaker = self.language(language)
        if speaker is None:
            raise ModelError(
                "unsupported_language",
                f"The language {str(language)[:40]!a} cannot be phonemised.",
                hint=f"Use one of {', '.join(spoken())}.",
            )
        norm_text, pauses = speaker.normalise(text), {}
        if language == "zh" and PAUSE_SIGN.search(text):
            norm_text, pauses = _normalise_around_pauses(text, speaker.normalise)
        phones, word2ph = speaker.phonemise(norm_text, version)
        for index, pause in pauses.items():
            phones[sum((word2ph or [])[:index])] = pause
        return Cleaned(language, text, norm_text, known_phones(phones, version), word2ph)

    def process(self, text: str, language: str, version: str = "v2") -> Phonemes:
        """A text of any length, in a language code or one of its names.

        Raises ModelError `unsupported_language`, `empty_text` when there is nothing to say, and `unreadable_text` when
        there is, but none of it in a language that can be spoken here.
        """
        code = resolve(language)
        pieces, skipped = self._readable_pieces(text, code)
        cleaned = self._clean_pieces(pieces, version)
        if not any(_says_something(piece.norm_text) for piece in cleaned):
            raise nothing_to_say(skipped)
        retried = sum(len(piece.phones) for piece in cleaned) < FEWEST_PHONES
        if retried:
            cleaned = self._clean_pieces(self._readable_pieces(f".{text}", code)[0], version)
        phones = [phone for piece in cleaned for phone in piece.phones]
        counts = [piece.word2ph for piece in cleaned]
        return Phonemes(
            phones=phones,
            ids=phone_ids(phones, version),
            word2ph=None if None in counts else [count for part in counts for count in part or ()],
            norm_text="".join(piece.norm_text for piece in cleaned),
            skipped=skipped,
            pieces=cleaned,
            retried=retried,
        )

    def says_something(self, text: str, code: str) -> bool:
        """Whether `process` would find words in the text; without loading any dictionary."""
        pieces, _ = self._readable_pieces(text, code)
        return any(_says_something(self._speaker(piece).normalise(piece.text)) for piece in pieces)

    def skipped(self, text: str, code: str) -> list[tuple[int, str]]:
        return self._readable_pieces(text, code)[1]

    def _speaker(self, piece: Piece) -> Language:
        speaker = self.language(piece.language)
        assert speaker is not None, "pieces without a language are skipped before"
        return speaker

    def _clean_pieces(self, pieces: list[Piece], version: str) -> list[Cleaned]:
        cleaned = (self.clean(piece.text, piece.language, version) for piece in pieces)
        return [piece for piece in cleaned if piece.norm_text.strip()]

    def _readable_pieces(self, text: str, code: str) -> tuple[list[Piece], list[tuple[int, str]]]:
        """The pieces with a blank for what their language cannot read, and what that was."""
        pieces: list[Piece] = []
        skipped: list[tuple[int, str]] = []
        for piece in segment(text, code):
            speaker = self.language(piece.language)
            if speaker is None:
                lead = len(piece.text) - len(piece.text.lstrip())
                skipped.append((piece.start + lead, piece.text.strip()))
                continue
            readable, lost = _keep(piece, speaker.readable)
            pieces.append(Piece(piece.language, re.sub(" {2,}", " ", readable), piece.start))
            skipped += lost
        return pieces, skipped


def nothing_to_say(skipped: list[tuple[int, str]]) -> ModelError:
    """The error for a text without a word to say."""
    if not skipped:
        return ModelError("empty_text", "The text holds nothing to say.", hint="Send at least one word.")
    position, fragment = skipped[0]
    return ModelError(
        "unreadable_text",
        f"No part of the text can be read aloud; at character {position} it has {fragment[:20]!a}.",
        hint=f"Languages that can be spoken: {', '.join(spoken())}.",
    )


def _keep(piece: Piece, readable: Callable[[str], bool]) -> tuple[str, list[tuple[int, str]]]:
    known = {character: readable(character) for character in set(piece.text)}
    if all(known.values()):
        return piece.text, []
    unknown = "".join(re.escape(character) for character, is_known in known.items() if not is_known)
    lost = [(piece.start + match.start(), match[0]) for match in re.finditer(f"[{unknown}]+", piece.text)]
    return "".join(character if known[character] else " " for character in piece.text), lost


def _says_something(norm_text: str) -> bool:
    return any(character not in MARKS and unicodedata.category(character)[0] in "LN" for character in norm_text)


def _normalise_around_pauses(text: str, normalise: Callable[[str], str]) -> tuple[str, dict[int, str]]:
    """The text with a comma for each pause sign, and at which character which pause phone belongs there."""
    first, *others = PAUSE_SIGN.split(text)
    norm_text = normalise(first)
    pauses: dict[int, str] = {}
    for sign, part in zip(PAUSE_SIGN.findall(text), others):
        if not norm_text or norm_text[-1] not in MARKS:  # a second mark in a row is dropped, as everywhere
            pauses[len(norm_text)] = PAUSES[sign]
            norm_text += ","
        norm_text += normalise(part).lstrip(MARKS)
    return norm_text, pauses
