"""The reference's ways of cutting a text into pieces, with its names for them, cut0 to cut5."""

from __future__ import annotations

import re
from collections.abc import Callable

from GPT_SoVITS.errors import ModelError

SPLIT_MARKS = "，。？！,.?!~:：—…"
SIX_MARKS = "!?…,.-"
LONGEST_PIECE = 510
"""Characters; the text feature's model takes 512 tokens."""
SHORTEST_PIECE = 5
CUT5_MARKS = ",.;?!、，。？！：…"
_MARK_RUN = re.compile(rf"([{re.escape(SIX_MARKS)}])[{re.escape(SIX_MARKS)}]+")
_AFTER_MARK = re.compile(rf"(?<=[{re.escape(SPLIT_MARKS)}])")
_WORD = re.compile(r"\w")


def split_sentences(text: str, language: str, method: str = "cut5") -> list[str]:
    """The pieces that the reference would synthesise one by one.

    `language` only chooses the full stop that is added (`.` for en). Empty for a text of marks alone; raises ModelError
    `empty_text` for a text without any character to keep, `unknown_split_method` for a method that does not exist.
    """
    return prepare(_MARK_RUN.sub(r"\1", text), language, method)


def prepare(text: str, language: str, method: str) -> list[str]:
    """`split_sentences` without the collapsing of runs of marks, as fragment and streaming modes have it."""
    text = text.strip("\n")
    if not text:
        return []
    stop = "." if language == "en" else "。"
    if text[0] not in SPLIT_MARKS and len(_first_part(text)) < 4:
        text = stop + text
    lines = [line for line in cut(text, method).split("\n") if line not in ("", " ")]
    if not lines:
        raise ModelError("empty_text", "The text holds nothing to say.", hint="Send at least one word.")
    pieces: list[str] = []
    for line in _merge_short(lines):
        if _WORD.search(line):
            line = line if line[-1] in SPLIT_MARKS else line + stop
            pieces += [line] if len(line) <= LONGEST_PIECE else break_long(line)
    return pieces


def cut(text: str, method: str) -> str:
    """The text with a newline between its pieces."""
    if method not in METHODS:
        raise ModelError(
            "unknown_split_method",
            f"There is no split method {str(method)[:40]!a}.",
            hint=f"Use one of {', '.join(METHODS)}.",
        )
    return METHODS[method](text)


def break_long(line: str) -> list[str]:
    """Chunks of at most 510 characters, each ending in a split mark where there is one."""
    chunks: list[str] = [""]
    for part in _AFTER_MARK.split(line):
        for start in range(0, len(part), LONGEST_PIECE):
            atom = part[start : start + LONGEST_PIECE]
            if len(chunks[-1]) + len(atom) > LONGEST_PIECE:
                chunks.append("")
            chunks[-1] += atom
    return [chunk for chunk in chunks if chunk]


def _first_part(text: str) -> str:
    return re.split(f"[{re.escape(SPLIT_MARKS)}]", text, maxsplit=1)[0].strip()


def _merge_short(lines: list[str]) -> list[str]:
    if len(lines) < 2:
        return lines
    merged: list[str] = []
    waiting: list[str] = []
    size = 0
    for line in lines:
        waiting.append(line)
        size += len(line)
        if size >= SHORTEST_PIECE:
            merged.append("".join(waiting))
            waiting, size = [], 0
    if waiting:
        merged[-1:] = ["".join([*merged[-1:], *waiting])]
    return merged


def _sentences(text: str) -> list[str]:
    text = text.replace("……", "。").replace("——", "，")
    if text[-1] not in SPLIT_MARKS:
        text += "。"
    return [part for part in _AFTER_MARK.split(text) if part]


def _spoken_pieces(pieces: list[str]) -> str:
    """The pieces that are not made of marks alone."""
    return "\n".join(piece for piece in pieces if not set(piece) <= {*SIX_MARKS, " "})


def _cut0(text: str) -> str:
    return "\n" if set(text) <= {*SIX_MARKS, " "} else text


def _cut1(text: str) -> str:
    """Groups of four sentences; the last group takes up to four more."""
    text = text.strip("\n")
    if not text:
        return ""
    sentences = _sentences(text)
    starts = list(range(0, len(sentences), 4))[:-1]
    if not starts:
        return _spoken_pieces([text])
    ends = [*starts[1:], len(sentences)]
    return _spoken_pieces(["".join(sentences[start:end]) for start, end in zip(starts, ends)])


def _cut2(text: str) -> str:
    """Sentences added up until they exceed fifty characters; a last part under fifty joins the one before."""
    text = text.strip("\n")
    if not text:
        return ""
    sentences = _sentences(text)
    if len(sentences) < 2:
        return text
    pieces: list[str] = []
    waiting: list[str] = []
    size = 0
    for sentence in sentences:
        waiting.append(sentence)
        size += len(sentence)
        if size > 50:
            pieces.append("".join(waiting))
            waiting, size = [], 0
    if waiting:
        pieces.append("".join(waiting))
    if len(pieces) > 1 and len(pieces[-1]) < 50:
        pieces[-2:] = [pieces[-2] + pieces[-1]]
    return _spoken_pieces(pieces)


def _cut3(text: str) -> str:
    return _spoken_pieces(text.strip("\n").strip("。").split("。"))


def _cut4(text: str) -> str:
    return _spoken_pieces(re.split(r"(?<!\d)\.(?!\d)", text.strip("\n").strip(".")))


def _cut5(text: str) -> str:
    text = text.strip("\n")
    pieces: list[str] = [""]
    for index, character in enumerate(text):
        pieces[-1] += character
        in_number = character == "." and text[index - 1 : index].isdigit() and text[index + 1 : index + 2].isdigit()
        if character in CUT5_MARKS and not in_number:
            pieces.append("")
    return "\n".join(piece for piece in pieces if not set(piece) <= set(CUT5_MARKS))


METHODS: dict[str, Callable[[str], str]] = {
    "cut0": _cut0,
    "cut1": _cut1,
    "cut2": _cut2,
    "cut3": _cut3,
    "cut4": _cut4,
    "cut5": _cut5,
}
