"""Numbers in a text without a word: the language of the voice reads them."""

from __future__ import annotations

import pytest

from common.languages import single_language
from GPT_SoVITS.text import phonemize, read_markup, split_script

NUMBERS_ALONE = [
    "42.",
    "$1,234.56.",
    "5km",
    "50%",
    "2024-03-05",
    "8:30",
    "3.14!",
    "1, 2, 3.",
    "+1 555 123 4567",
    "£20?",
    "10^6",
]


def languages(text: str, number_language: str, language: str = "auto") -> list[str]:
    script = read_markup(text, language, number_language=number_language)
    return [
        segment.language
        for utterance in split_script(script, number_language)
        for segment in phonemize(utterance.text, utterance.language).segments
    ]


@pytest.mark.parametrize("text", NUMBERS_ALONE)
@pytest.mark.parametrize("language", ["en", "zh", "ja"])
def test_numbers_alone_are_read_in_the_language_of_the_voice(text, language):
    assert set(languages(text, language)) == {language}


def test_the_words_of_the_voice_language_are_said():
    (english,) = phonemize("42.", split_script(read_markup("42."), "en")[0].language).segments
    (mandarin,) = phonemize("42.", split_script(read_markup("42."), "zh")[0].language).segments

    assert (english.norm_text.strip(". "), mandarin.norm_text.strip(".")) == ("forty-two", "四十二")


def test_a_language_in_the_request_and_words_in_the_text_take_precedence():
    assert languages("42.", "en", "zh") == ["zh"]
    assert languages("42.", "zh", "en") == ["en"]
    assert languages("今天是42号。", "en") == ["zh"]
    assert languages("There are 42.", "zh") == ["en"]


def test_numbers_behind_a_pause_keep_the_language_of_the_words_before_it():
    assert languages("今天天气很好。{500ms}42。", "en") == ["zh", "zh"]
    assert languages("42.{500ms}43.", "en") == ["en", "en"]


def test_what_ssml_interprets_is_read_in_the_language_of_the_voice():
    text = '<speak><say-as interpret-as="ordinal">42</say-as></speak>'

    assert languages(text, "en") == ["en"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("en", "en"),
        ("all_zh", "zh"),
        ("auto", ""),
        ("auto_yue", "yue"),
        ("English", "en"),
        ("all_ja", "ja"),
        ("", ""),
        ("?", ""),
    ],
)
def test_the_language_of_a_voice_is_a_single_one_or_none(name, code):
    assert single_language(name) == code
