"""Transcripts are compared with their texts word by word."""

from __future__ import annotations

import math

import pytest

from GPT_SoVITS.dataset.word_errors import align, compare, edit_distance, error_rate


def test_words_are_paired_with_the_fewest_changes():
    pairs = align(["she", "poured", "a", "cup", "of", "tea"], ["she", "poured", "cup", "of", "of", "coffee"])

    assert pairs == [
        ("she", "she"),
        ("poured", "poured"),
        ("a", None),
        ("cup", "cup"),
        (None, "of"),
        ("of", "of"),
        ("tea", "coffee"),
    ]


@pytest.mark.parametrize(
    ("expected", "transcript", "language", "repeated", "skipped"),
    [
        ("Close the old door.", "close the old door", "en", (), ()),
        ("Close the old door.", "close the the old door", "en", ("the",), ()),
        ("Close the old door.", "close the old, close the old door", "en", ("close", "the", "old"), ()),
        ("Close the old door.", "close the door", "en", (), ("old",)),
        ("Close the old door.", "close the cold door", "en", (), ()),
        ("Close the old door.", "and close the old door", "en", (), ()),
        ("今天天气很好。", "今天天很好", "zh", (), ("气",)),
        ("안녕하세요.", "안녕 하세요", "ko", (), ()),
    ],
)
def test_words_that_were_skipped_or_said_twice_are_named(expected, transcript, language, repeated, skipped):
    comparison = compare(expected, transcript, language)

    assert (comparison.repeated, comparison.skipped) == (repeated, skipped)


def test_characters_are_counted_beside_words():
    comparison = compare("close the door", "close the floor", "en")

    assert comparison.wer == pytest.approx(1 / 3)
    assert comparison.cer == pytest.approx(2 / 12)


@pytest.mark.parametrize(
    ("expected", "transcript", "language", "rate"),
    [
        ("Hello, World!", "hello world", "en", 0.0),
        ("I have 2 cats.", "I have two cats", "en", 0.0),
        ("It's re-entered", "its re entered", "en", 1 / 3),
        ("one two three four", "one three four five", "en", 0.5),
        ("one", "", "en", 1.0),
        ("one", "one two three", "en", 2.0),
        ("", "", "en", 0.0),
        ("", "um", "en", math.inf),
        ("我有2只猫。", "我有两只狗", "zh", 0.2),
        ("こんにちは。", "こんにちわ", "ja", 0.2),
        ("Guten Tag", "guten  tag!", "de", 0.0),
    ],
)
def test_error_rates_ignore_capitals_punctuation_and_figures(expected, transcript, language, rate):
    assert error_rate(expected, transcript, language) == pytest.approx(rate)


def test_edit_distance_counts_the_fewest_changes():
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == 3
    assert edit_distance("abc", "abc") == 0
