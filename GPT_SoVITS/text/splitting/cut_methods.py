"""Upstream's ways to cut a text into pieces, with its names for them, cut0 to cut5.

docs/spec/text-frontend.md §3 and §4 describe them. Lengths are in characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from GPT_SoVITS.errors import ModelError

SPLIT_PUNCTUATION = "，。？！,.?!~:：—…"
SIX_PUNCTUATION = "!?…,.-"
MAX_PIECE_LENGTH = 510
"""The text feature's model takes 512 tokens."""
MIN_PIECE_LENGTH = 5
CUT5_PUNCTUATION = ",.;?!、，。？！：…"
_PUNCTUATION_RUN = re.compile(rf"([{re.escape(SIX_PUNCTUATION)}])[{re.escape(SIX_PUNCTUATION)}]+")
_AFTER_PUNCTUATION = re.compile(rf"(?<=[{re.escape(SPLIT_PUNCTUATION)}])")
_WORD = re.compile(r"\w")
_BEFORE_WORD = re.compile(r"[\w“‘「『（《【(\[{¿¡]|(?<=\s)[\"']")
"""A word's first character, or punctuation that opens it."""


def split_sentences(text: str, language: str, method: str = "cut5") -> list[str]:
    """Return the pieces that upstream would synthesize one by one.

    `language` only chooses the full stop that is added (`.` for en). A text of punctuation alone has no pieces; raises
    ModelError `empty_text` for a text without any character to keep, `unknown_split_method` for an unknown method.
    """
    return prepare(_PUNCTUATION_RUN.sub(r"\1", text), language, method)


def prepare(text: str, language: str, method: str) -> list[str]:
    """Return the pieces as `split_sentences` does, but leave runs of punctuation, as upstream's streaming modes do."""
    text = text.strip("\n")
    if not text:
        return []
    stop = "." if language == "en" else "。"
    first_sentence = re.split(f"[{re.escape(SPLIT_PUNCTUATION)}]", text, maxsplit=1)[0].strip()
    if text[0] not in SPLIT_PUNCTUATION and len(first_sentence) < 4:
        text = stop + text
    lines = [line for line in cut(text, method).split("\n") if line not in ("", " ")]
    if not lines:
        raise ModelError("empty_text", "The text holds nothing to say.", hint="Send at least one word.")
    pieces: list[str] = []
    for line in _merge_short(lines):
        if _WORD.search(line):
            line = line if line[-1] in SPLIT_PUNCTUATION else line + stop
            pieces += [line] if len(line) <= MAX_PIECE_LENGTH else break_long(line)
    return pieces


def cut(text: str, method: str) -> str:
    """Return the text with a newline between its pieces."""
    if method not in CUT_METHODS:
        raise ModelError(
            "unknown_split_method",
            f"There is no split method {str(method)[:40]!a}.",
            hint=f"Use one of {', '.join(CUT_METHODS)}.",
        )
    return CUT_METHODS[method](text)


def fragments_by_method(text: str, method: str) -> list[str]:
    """Return the fragments of a text, cut where upstream cuts; together they are the text.

    Upstream drops or replaces some punctuation where it cuts; here a fragment keeps it, and what closes its last word.
    Raises ModelError `unknown_split_method`.
    """
    lines = _merge_short([line for line in cut(text, method).split("\n") if _WORD.search(line)])
    fragments: list[str] = []
    start = 0
    words = _WORD.finditer(text)
    for line in lines[:-1]:
        for _ in range(sum(1 for _ in _WORD.finditer(line))):
            end = next(words).end()
        while end < len(text) and not _BEFORE_WORD.match(text, end):
            end += 1
        fragments.append(text[start:end])
        start = end
    return [*fragments, text[start:]]


def break_long(line: str) -> list[str]:
    """Return pieces of at most 510 characters, each ending in punctuation where there is any."""
    pieces: list[str] = [""]
    for sentence in _AFTER_PUNCTUATION.split(line):
        for start in range(0, len(sentence), MAX_PIECE_LENGTH):
            stretch = sentence[start : start + MAX_PIECE_LENGTH]
            if len(pieces[-1]) + len(stretch) > MAX_PIECE_LENGTH:
                pieces.append("")
            pieces[-1] += stretch
    return [piece for piece in pieces if piece]


def _merge_short(lines: list[str]) -> list[str]:
    if len(lines) < 2:
        return lines
    merged: list[str] = []
    pending: list[str] = []
    size = 0
    for line in lines:
        pending.append(line)
        size += len(line)
        if size >= MIN_PIECE_LENGTH:
            merged.append("".join(pending))
            pending, size = [], 0
    if pending:
        merged[-1:] = ["".join([*merged[-1:], *pending])]
    return merged


def _split_at_punctuation(text: str) -> list[str]:
    text = text.replace("……", "。").replace("——", "，")
    if text[-1] not in SPLIT_PUNCTUATION:
        text += "。"
    return [sentence for sentence in _AFTER_PUNCTUATION.split(text) if sentence]


def _join_with_words(pieces: list[str]) -> str:
    """Return the pieces that are not punctuation alone, a newline between them."""
    return "\n".join(piece for piece in pieces if not set(piece) <= {*SIX_PUNCTUATION, " "})


def cut_nowhere(text: str) -> str:
    """Leave the text in one piece."""
    return "\n" if set(text) <= {*SIX_PUNCTUATION, " "} else text


def cut_by_four_sentences(text: str) -> str:
    """Cut into groups of four sentences; the last group takes up to four more."""
    text = text.strip("\n")
    if not text:
        return ""
    sentences = _split_at_punctuation(text)
    starts = list(range(0, len(sentences), 4))[:-1]
    if not starts:
        return _join_with_words([text])
    ends = [*starts[1:], len(sentences)]
    return _join_with_words(["".join(sentences[start:end]) for start, end in zip(starts, ends)])


def cut_by_fifty_characters(text: str) -> str:
    """Cut after the sentence that exceeds fifty characters; a last piece under fifty joins the one before."""
    text = text.strip("\n")
    if not text:
        return ""
    sentences = _split_at_punctuation(text)
    if len(sentences) < 2:
        return text
    pieces: list[str] = []
    pending: list[str] = []
    size = 0
    for sentence in sentences:
        pending.append(sentence)
        size += len(sentence)
        if size > 50:
            pieces.append("".join(pending))
            pending, size = [], 0
    if pending:
        pieces.append("".join(pending))
    if len(pieces) > 1 and len(pieces[-1]) < 50:
        pieces[-2:] = [pieces[-2] + pieces[-1]]
    return _join_with_words(pieces)


def cut_at_ideographic_stops(text: str) -> str:
    """Cut at 。, which is dropped."""
    return _join_with_words(text.strip("\n").strip("。").split("。"))


def cut_at_full_stops(text: str) -> str:
    """Cut at full stops outside numbers, which are dropped."""
    return _join_with_words(re.split(r"(?<!\d)\.(?!\d)", text.strip("\n").strip(".")))


def cut_at_all_punctuation(text: str) -> str:
    """Cut behind any punctuation but the point of a decimal."""
    text = text.strip("\n")
    pieces: list[str] = [""]
    for index, character in enumerate(text):
        pieces[-1] += character
        in_number = character == "." and text[index - 1 : index].isdigit() and text[index + 1 : index + 2].isdigit()
        if character in CUT5_PUNCTUATION and not in_number:
            pieces.append("")
    return "\n".join(piece for piece in pieces if not set(piece) <= set(CUT5_PUNCTUATION))


CUT_METHODS: dict[str, Callable[[str], str]] = {
    "cut0": cut_nowhere,
    "cut1": cut_by_four_sentences,
    "cut2": cut_by_fifty_characters,
    "cut3": cut_at_ideographic_stops,
    "cut4": cut_at_full_stops,
    "cut5": cut_at_all_punctuation,
}
