"""Cantonese: what is written, its syllables, and ideographs that few dictionaries have."""

from __future__ import annotations

import pytest
from single_language import phonemize_segment

from GPT_SoVITS.text import phonemize


@pytest.mark.parametrize(
    ("written", "norm_text"),
    [
        ("1,000元", "一千元"),
        ("3-5日", "三到五日"),
        ("「你好」（早晨）", "你好早晨"),
        ("好～", "好-"),
        ("……", "……"),
        ("㗎𨋢", "㗎𨋢"),
        ("\uf967", "不"),
    ],
)
def test_what_is_written_becomes_ideographs_and_marks(written, norm_text):
    assert phonemize_segment(written, "yue").norm_text == norm_text


@pytest.mark.parametrize(
    ("text", "phones", "counts"),
    [
        ("五", ["Yng", "Yg5"], [2]),
        ("屋企", ["Yuk", "Yk1", "Yk", "Yei2"], [2, 2]),
        ("卅年", ["Ys", "Yaa1", "Yaa", "Ya6", "Yn", "Yin4"], [4, 2]),
        ("甕", ["Yo", "Yung3"], [2]),
        ("鶯", ["Ya", "Yang1"], [2]),
    ],
)
def test_a_syllable_has_two_phones(text, phones, counts):
    segment = phonemize_segment(text, "yue")

    assert segment.phonemes == phones
    assert segment.word2ph == counts


def test_an_ideograph_without_a_reading_is_reported_with_its_place():
    assert phonemize("佢𠀀喺度饣", "yue").skipped == [(1, "𠀀"), (4, "饣")]


def test_cantonese_has_no_text_feature():
    assert set(phonemize("我哋去飲茶", "yue").feature_columns) == {None}
    assert phonemize("飲茶 tea 喝茶", "auto_yue").word2ph is None
