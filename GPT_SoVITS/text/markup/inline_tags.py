"""Marks in plain text: `{word|reading}`, `{500ms}`, and `<break time="500ms"/>`; all other braces are text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.markup.items import Chunk, Item, Pause, bad_markup
from GPT_SoVITS.text.markup.notation import bad, is_cantonese, read_notation

DURATION = re.compile(r"\+?([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})\s{0,9}(ms|s)")
STRENGTHS = {"none": 0.0, "x-weak": 0.25, "weak": 0.5, "medium": 0.75, "strong": 1.0, "x-strong": 1.25}
"""Seconds of a pause that is named by its strength."""
MARK = re.compile(
    r"\\(?P<brace>\{)"
    r"|\{(?P<word>[^{}|]{1,200})\|(?P<notation>[^{}]{0,600})\}"
    r"|\{\s{0,9}(?P<pause>[0-9.]{1,19}\s{0,9}m?s)\s{0,9}\}"
    r"|<break(?P<attributes>\s[^<>]{0,200}?)?\s{0,9}/?>"
)
ATTRIBUTE = re.compile(r"""\s+([A-Za-z:-]{1,20})\s{0,9}=\s{0,9}(?:"([^"<>]{0,100})"|'([^'<>]{0,100})')""")


def parse_marks(text: str, code: str) -> Iterator[Item]:
    """The text between the marks, and what the marks say, in order."""
    done = 0
    for match in MARK.finditer(text):
        yield Chunk(text[done : match.start()])
        done = match.end()
        try:
            yield _meaning(match, is_cantonese(code))
        except ModelError as error:
            raise _at(error, match.start()) from None
    yield Chunk(text[done:])


def seconds_of(duration: str) -> float:
    """`500ms` or `1.5s` in seconds; ModelError `bad_markup` for anything else."""
    match = DURATION.fullmatch(duration.strip())
    if match is None:
        raise bad_markup(f"{duration[:40]!r} is no time.", "Write 500ms or 1.5s.")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


def seconds_of_break(attributes: dict[str, str]) -> float:
    """What `<break>` asks for: its time, else its strength, else a medium pause."""
    for name in attributes:
        if name not in ("time", "strength"):
            raise bad_markup(f"<break> has no attribute {name[:40]!r} here.", "It has `time` and `strength`.")
    strength = attributes.get("strength", "medium")
    if strength not in STRENGTHS:
        raise bad_markup(f"<break> has no strength {strength[:40]!r}.", f"Use one of {', '.join(STRENGTHS)}.")
    return seconds_of(attributes["time"]) if "time" in attributes else STRENGTHS[strength]


def _meaning(match: re.Match[str], cantonese: bool) -> Item:
    if match["brace"]:
        return Chunk("{")
    if match["word"]:
        return Chunk(match["word"], reading=read_notation(match["word"], match["notation"], cantonese=cantonese))
    if match["pause"]:
        return Pause(seconds_of(match["pause"]))
    return Pause(seconds_of_break(_attributes(match["attributes"] or "")))


def _attributes(written: str) -> dict[str, str]:
    found = {match[1]: match[2] or match[3] or "" for match in ATTRIBUTE.finditer(written)}
    if ATTRIBUTE.sub("", written).strip():
        tag = f"<break{written[:60]}>"
        raise bad_markup(f"{tag!r} cannot be read.", 'Write <break time="500ms"/>.')
    return found


def _at(error: ModelError, place: int) -> ModelError:
    make = bad if error.code == "bad_pronunciation" else bad_markup
    escape = "To have the braces read as text, write \\{ or set the input type to text."
    return make(f"At character {place}: {error.message}", f"{error.hint} {escape}".strip())
