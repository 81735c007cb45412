"""What stages say, and its parts for other languages."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from common.progress_messages import PROGRESS_CODES, progress_message, read_progress_message

REPOSITORY = Path(__file__).resolve().parents[2]
VALUES = {
    **{"time": "2030-01-01T00:00:00Z", "stages": "asr, denoise", "voice": "of 3"},
    **dict.fromkeys(("seconds", "count", "done", "epoch", "number"), "7"),
}


@pytest.mark.parametrize("code", PROGRESS_CODES)
def test_a_sentence_is_read_as_the_code_and_the_values_that_it_was_made_of(code: str) -> None:
    sentence = progress_message(code, **VALUES)  # type: ignore[arg-type]
    parts = read_progress_message(sentence)

    assert parts is not None
    assert parts[0] == code
    assert parts[1].items() <= VALUES.items()
    assert sentence == progress_message(parts[0], **parts[1])


def test_another_sentence_has_no_code() -> None:
    assert read_progress_message("Nobody speaks in the recording.") is None


def test_every_kind_of_work_on_segments_has_a_code() -> None:
    verbs = set()
    for file in (REPOSITORY / "roles" / "preprocessing").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("process_files", "_encode_segments"):
                values = [*node.args[2:], *(keyword.value for keyword in node.keywords if keyword.arg == "verb")]
                verbs |= {str(value.value) for value in values if isinstance(value, ast.Constant)}

    assert len(verbs) >= 5
    assert [verb for verb in verbs if read_progress_message(f"{verb} 3 of 7 segments.") is None] == []
