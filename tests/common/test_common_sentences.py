"""A message and a hint as one text."""

from __future__ import annotations

import pytest

from common.sentences import join_sentences


@pytest.mark.parametrize(
    ("message", "hint", "text"),
    [
        ("no voice named 'alloy'", "Published voices: allison.", "no voice named 'alloy'. Published voices: allison."),
        ("The text is empty.", "Send one.", "The text is empty. Send one."),
        ("What?", "Send one.", "What? Send one."),
        ("依赖阶段未完成。", "Run asr.", "依赖阶段未完成。 Run asr."),
        ("no task 'a'", "", "no task 'a'"),
        ("", "Send one.", "Send one."),
    ],
)
def test_a_full_stop_stands_between_message_and_hint(message: str, hint: str, text: str) -> None:
    assert join_sentences(message, hint) == text
