"""`main.py text`: how a text is read, for people as a table and for programs as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text import Passage, Pause, Phonemes, process, read_markup


def run_text_command(options: argparse.Namespace) -> int:
    """`main.py text TEXT`, where `-` reads what is piped in; its exit code."""
    text = sys.stdin.read() if options.text == "-" else options.text
    try:
        dictionary = _dictionary(options.pronunciation)
        heard = look_at(text, options.language, options.version, options.input_type, dictionary)
    except ModelError as error:
        print(f"{error.message} {error.hint}".rstrip(), file=sys.stderr)
        return 1
    shown = json.dumps(heard, indent=2, ensure_ascii=False) if options.json else as_table(heard)
    print(shown.encode("utf-8", "backslashreplace").decode())
    return 0


def look_at(
    text: str, language: str, version: str, input_type: str = "auto", pronunciations: dict[str, str] | None = None
) -> dict[str, Any]:
    """What is heard, in order: passages with their pieces, phones and ids, and pauses."""
    script = read_markup(text, language, input_type=input_type, pronunciations=pronunciations)
    heard: list[dict[str, Any]] = []
    refused: ModelError | None = None
    for item in script:
        if isinstance(item, Pause):
            heard.append({"pause_seconds": item.seconds})
            continue
        try:
            read = process(item.text, item.language, version, readings=item.readings)
        except ModelError as error:
            if error.code != "empty_text":
                raise
            refused = error  # marks alone; another passage has the words
            continue
        heard.append(_passage(item, read))
    if not any("phones" in item for item in heard):
        raise refused or ModelError("empty_text", "The text holds nothing to say.", hint="Send at least one word.")
    return {"language": language, "version": version, "heard": heard}


def as_table(heard: dict[str, Any]) -> str:
    lines: list[str] = []
    for item in heard["heard"]:
        if "pause_seconds" in item:
            lines.append(f"{'pause':<10}{item['pause_seconds']:g} s")
            continue
        if item["rate"] != 1:
            lines.append(f"{'rate':<10}{item['rate']:g}")
        for piece in item["pieces"]:
            lines.append(f"{piece['language']:<10}{piece['text']}")
            lines += [
                f"{name:<10}{value}"
                for name, value in (
                    ("says", piece["norm_text"]),
                    ("phones", " ".join(piece["phones"])),
                    ("ids", " ".join(map(str, piece["ids"]))),
                )
            ]
        lines += [f"{'skipped':<10}{one['text']!r} at {one['position']}" for one in item["skipped"]]
    return "\n".join(lines)


def _passage(passage: Passage, read: Phonemes) -> dict[str, Any]:
    pieces = []
    done = 0
    for piece in read.pieces:
        ids = read.ids[done : done + len(piece.phones)]
        done += len(piece.phones)
        pieces.append(
            {
                "language": piece.language,
                "text": piece.text,
                "norm_text": piece.norm_text,
                "phones": piece.phones,
                "ids": ids,
                "word2ph": piece.word2ph,
            }
        )
    return {
        "text": passage.text,
        "language": passage.language,
        "rate": passage.rate,
        "pieces": pieces,
        "phones": read.phones,
        "ids": read.ids,
        "skipped": [{"position": position, "text": fragment} for position, fragment in read.skipped],
    }


def _dictionary(entries: list[str]) -> dict[str, str]:
    """`WORD=READING` as it was typed; a reading may begin with another `=`."""
    found = {}
    for entry in entries:
        word, sign, reading = entry.partition("=")
        if not sign:
            raise ModelError("bad_pronunciation", f"{entry[:40]!r} is no pronunciation.", hint="Write WORD=READING.")
        found[word] = reading
    return found
