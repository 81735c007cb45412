"""Instructions choose the prompt that suits them, and none where none does."""

from __future__ import annotations

import pytest

from core.records.models.voices import VoicePrompt
from core.voices.prompt_choice import choose_prompt

PROMPTS: list[VoicePrompt] = [
    {"name": "default", "audio": "a.wav", "text": "Angry words.", "language": "en"},
    {"name": "happy", "audio": "b.wav", "text": "b", "language": "en"},
    {"name": "take 3", "audio": "c.wav", "text": "c", "language": "en", "description": "furious, loud, like a pirate"},
    {"name": "温柔", "audio": "d.wav", "text": "d", "language": "zh"},
]


@pytest.mark.parametrize(
    ("instructions", "name"),
    [
        ("Happy.", "happy"),
        ("Speak in a cheerful and positive tone.", "happy"),
        ("Say it happily, please", "happy"),
        ("Sound angry", "take 3"),
        ("Talk like a pirate.", "take 3"),
        ("Do not be happy, be angry", "take 3"),
        ("请用开心的语气说话", "happy"),
        ("用温柔的声音", "温柔"),
        ("calm and soothing", "温柔"),
        ("Speak with a French accent", None),
        ("Not happy", None),
        ("a the and of", None),
        ("", None),
    ],
)
def test_the_prompt_whose_name_or_description_fits_best_is_chosen(instructions: str, name: str | None) -> None:
    prompt = choose_prompt(PROMPTS, instructions)

    assert (None if prompt is None else prompt["name"]) == name
