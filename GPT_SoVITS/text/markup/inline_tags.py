"""Inline tags in plain text: `{word|pronunciation}`, `{500ms}`, `<break time="500ms"/>` and `[voice:name]`.

Other braces and brackets are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from common.text_origins import literal, replaced
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.markup.items import MarkupChunk, MarkupItem, Pause, bad_markup
from GPT_SoVITS.text.markup.notation import is_cantonese, read_notation

DURATION = re.compile(r"\+?([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})\s{0,9}(ms|s)")
STRENGTHS = {"none": 0.0, "x-weak": 0.25, "weak": 0.5, "medium": 0.75, "strong": 1.0, "x-strong": 1.25}
"""Seconds of a pause that is named by its strength."""
INLINE_TAG = re.compile(
    r"\\(?P<brace>\{|\[(?=/?voice))"
    r"|\{(?P<word>[^{}|]{1,200})\|(?P<notation>[^{}]{0,600})\}"
    r"|\{\s{0,9}(?P<pause>[0-9.]{1,19}\s{0,9}m?s)\s{0,9}\}"
    r"|\[(?:voice:(?P<voice>[^\[\]\n]{0,200})|/voice)\]"
    r"|<break(?P<attributes>\s[^<>]{0,200}?)?\s{0,9}/?>"
)
ATTRIBUTE = re.compile(r"""\s+([A-Za-z:-]{1,20})\s{0,9}=\s{0,9}(?:"([^"<>]{0,100})"|'([^'<>]{0,100})')""")


def parse_inline_tags(text: str, code: str, voice: str = "") -> Iterator[MarkupItem]:
    """Yield the text between the tags and what the tags mean, in order; it begins in a voice.

    Raises ModelError `bad_markup` and `bad_pronunciation`, with the position in the text.
    """
    end = 0
    for match in INLINE_TAG.finditer(text):
        yield MarkupChunk(text[end : match.start()], voice=voice, origins=literal(match.start() - end, end))
        end = match.end()
        try:
            if match[0].startswith("["):
                voice = _read_voice(match)
                continue
            item = _read_tag(match, is_cantonese(code))
            yield replace(item, voice=voice) if isinstance(item, MarkupChunk) else item
        except ModelError as error:
            escape = "To have a tag read as text, write \\ before it or set the input type to text."
            raise ModelError(
                error.code, f"At character {match.start()}: {error.message}", hint=f"{error.hint} {escape}"
            ) from None
    yield MarkupChunk(text[end:], voice=voice, origins=literal(len(text) - end, end))


def last_voice(text: str, voice: str = "") -> str:
    """Return the voice in which a text ends that begins in one."""
    for match in INLINE_TAG.finditer(text):
        if match[0].startswith("["):
            voice = _read_voice(match)
    return voice


def _read_voice(match: re.Match[str]) -> str:
    """Return the name of a voice; "" for that of the request."""
    if match["voice"] is None:
        return ""
    name = match["voice"].strip()
    if not name:
        raise bad_markup("[voice:] names no voice.", "Write [voice:name], and [/voice] for the voice of the request.")
    return name


def _read_tag(match: re.Match[str], cantonese: bool) -> MarkupItem:
    if match["brace"]:
        return MarkupChunk(match["brace"], origins=replaced(match["brace"], *match.span()))
    if match["word"]:
        pronunciation = read_notation(match["word"], match["notation"], cantonese=cantonese)
        word = match["word"]
        as_written = literal(len(word), match.start("word"), match.start())
        origins = as_written if pronunciation.text == word else replaced(word, *match.span())
        return MarkupChunk(word, pronunciation=pronunciation, origins=origins)
    if match["pause"]:
        return Pause(parse_duration(match["pause"]))
    written = match["attributes"] or ""
    if ATTRIBUTE.sub("", written).strip():
        tag = f"<break{written[:60]}>"
        raise bad_markup(f"{tag!r} cannot be read.", 'Write <break time="500ms"/>.')
    return Pause(break_seconds({name: double or single for name, double, single in ATTRIBUTE.findall(written)}))


def parse_duration(duration: str) -> float:
    """Return the seconds of `500ms` or `1.5s`; raise ModelError `bad_markup` for anything else."""
    match = DURATION.fullmatch(duration.strip())
    if match is None:
        raise bad_markup(f"{duration[:40]!r} is no time.", "Write 500ms or 1.5s.")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


def break_seconds(attributes: Mapping[str, str]) -> float:
    """Return the seconds of a `<break>`: its time, else those of its strength, else of a medium pause."""
    for name in attributes:
        if name not in ("time", "strength"):
            raise bad_markup(f"<break> has no attribute {name[:40]!r} here.", "It has `time` and `strength`.")
    strength = attributes.get("strength", "medium")
    if strength not in STRENGTHS:
        raise bad_markup(f"<break> has no strength {strength[:40]!r}.", f"Use one of {', '.join(STRENGTHS)}.")
    return parse_duration(attributes["time"]) if "time" in attributes else STRENGTHS[strength]
