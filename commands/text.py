"""`main.py text`: how a text is pronounced, for people as a table and for programs as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from common.sentences import join_sentences
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text import Passage, Pause, PhonemizedText, phonemize, read_markup


def run_text_command(options: argparse.Namespace) -> int:
    """Print the pronunciation of TEXT, or of standard input for `-`; return the exit code."""
    text = sys.stdin.read() if options.text == "-" else options.text
    try:
        dictionary = _dictionary(options.pronunciation)
        script = analyze(text, options.language, options.version, options.input_type, dictionary)
    except ModelError as error:
        print(join_sentences(error.message, error.hint), file=sys.stderr)
        return 1
    shown = json.dumps(script, indent=2, ensure_ascii=False) if options.json else as_table(script)
    print(shown.encode("utf-8", "backslashreplace").decode())
    return 0


def analyze(
    text: str, language: str, version: str, input_type: str = "auto", pronunciations: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return what is spoken, in order: passages with their pieces, phonemes and ids, and pauses.

    Raises ModelError as `read_markup` and `phonemize` do, and `empty_text` when there is nothing to say.
    """
    script = read_markup(text, language, input_type=input_type, pronunciations=pronunciations)
    spoken: list[dict[str, Any]] = []
    empty: ModelError | None = None
    for item in script:
        if isinstance(item, Pause):
            spoken.append({"pause_seconds": item.seconds})
            continue
        try:
            phonemes = phonemize(item.text, item.language, version, inline_pronunciations=item.pronunciations)
        except ModelError as error:
            if error.code != "empty_text":
                raise
            empty = error  # punctuation alone; another passage has the words
            continue
        spoken.append(_passage(item, phonemes))
    if not any("phones" in item for item in spoken):
        raise empty or ModelError("empty_text", "The text holds nothing to say.", hint="Send at least one word.")
    return {"language": language, "version": version, "heard": spoken}


def as_table(script: dict[str, Any]) -> str:
    """Format the result of `analyze` as lines of a label and a value."""
    lines: list[str] = []
    for item in script["heard"]:
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
        lines += [f"{'skipped':<10}{skipped['text']!r} at {skipped['position']}" for skipped in item["skipped"]]
    return "\n".join(lines)


def _passage(passage: Passage, phonemes: PhonemizedText) -> dict[str, Any]:
    pieces = []
    done = 0
    for piece in phonemes.segments:
        ids = phonemes.ids[done : done + len(piece.phonemes)]
        done += len(piece.phonemes)
        pieces.append(
            {
                "language": piece.language,
                "text": piece.text,
                "norm_text": piece.norm_text,
                "phones": piece.phonemes,
                "ids": ids,
                "word2ph": piece.word2ph,
            }
        )
    return {
        "text": passage.text,
        "language": passage.language,
        "rate": passage.rate,
        "pieces": pieces,
        "phones": phonemes.phonemes,
        "ids": phonemes.ids,
        "skipped": [{"position": position, "text": fragment} for position, fragment in phonemes.skipped],
    }


def _dictionary(entries: list[str]) -> dict[str, str]:
    """Parse `WORD=PRONUNCIATION` entries; a pronunciation may begin with another `=`."""
    dictionary = {}
    for entry in entries:
        word, separator, pronunciation = entry.partition("=")
        if not separator:
            raise ModelError("bad_pronunciation", f"{entry[:40]!r} is no pronunciation.", hint="Write WORD=READING.")
        dictionary[word] = pronunciation
    return dictionary
