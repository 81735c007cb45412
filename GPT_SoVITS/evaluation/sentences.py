"""What a voice is asked to say when it is judged: sentences of medium length, in no training text of ours."""

from __future__ import annotations

from pathlib import Path

from GPT_SoVITS.dataset.word_errors import words
from GPT_SoVITS.errors import ModelError

FOLDER = Path(__file__).parent / "sentences"
FALLBACK = "en"
LONGEST = 500
"""Characters of one sentence, and the most lines of a file: more is a text, and no test."""


def packaged(language: str) -> list[str]:
    """The sentences of a language (`zh`, `all_zh` …); the English ones where there are none of its own."""
    code = language.removeprefix("all_").removeprefix("auto_")
    path = FOLDER / f"{code}.txt"
    return read_sentences(path if path.is_file() else FOLDER / f"{FALLBACK}.txt", language)


def spoken_language(language: str) -> str:
    """In which language the packaged sentences for this one are."""
    code = language.removeprefix("all_").removeprefix("auto_")
    return code if (FOLDER / f"{code}.txt").is_file() else FALLBACK


def read_sentences(path: Path, language: str) -> list[str]:
    """One a line; empty lines and those that begin with # are passed over. Raises ModelError("bad_sentences")."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError("bad_sentences", f"The sentences in {path} cannot be read: {error}.") from error
    found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise ModelError("bad_sentences", f"{path.name} holds no sentences.", hint="It is UTF-8, one sentence a line.")
    for number, sentence in enumerate(found, start=1):
        if len(sentence) > LONGEST or not words(sentence, language.removeprefix("all_")):
            raise ModelError(
                "bad_sentences",
                f"Sentence {number} of {path.name} cannot be judged: {sentence[:40]!r}.",
                hint=f"A sentence has words, and at most {LONGEST} characters.",
            )
    return found[:LONGEST]
