"""The sentences that a voice says in an evaluation: of medium length, and in none of our training texts."""

from __future__ import annotations

from pathlib import Path

from GPT_SoVITS.dataset.word_errors import words
from GPT_SoVITS.errors import ModelError

FOLDER = Path(__file__).parent / "sentences"
FALLBACK = "en"
MAX_LENGTH = 500
"""Characters of one sentence, and the most lines of a file: more is a text, and no test."""


def packaged_language(language: str) -> str:
    """Return the language of the packaged sentences for a language code (`zh`, `all_zh` …)."""
    code = language.removeprefix("all_").removeprefix("auto_")
    return code if (FOLDER / f"{code}.txt").is_file() else FALLBACK


def packaged_sentences(language: str) -> list[str]:
    """Return the sentences of a language; the English ones where there are none of its own."""
    return read_sentences(FOLDER / f"{packaged_language(language)}.txt", language)


def read_sentences(path: Path, language: str) -> list[str]:
    """Return the lines of a file but those that are empty or begin with #; raise ModelError `bad_sentences`."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError("bad_sentences", f"The sentences in {path} cannot be read: {error}.") from error
    sentences = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not sentences:
        raise ModelError("bad_sentences", f"{path.name} holds no sentences.", hint="It is UTF-8, one sentence a line.")
    for number, sentence in enumerate(sentences, start=1):
        if len(sentence) > MAX_LENGTH or not words(sentence, language.removeprefix("all_")):
            raise ModelError(
                "bad_sentences",
                f"Sentence {number} of {path.name} cannot be judged: {sentence[:40]!r}.",
                hint=f"A sentence has words, and at most {MAX_LENGTH} characters.",
            )
    return sentences[:MAX_LENGTH]
