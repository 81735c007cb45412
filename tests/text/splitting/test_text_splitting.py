"""Texts cut into utterances, and into the reference's pieces."""

from __future__ import annotations

import pytest

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text import CUT_METHODS, cut, phonemize, split_for_speech, split_sentences
from GPT_SoVITS.text.splitting.cut_methods import fragments_by_method


def texts(text: str, language: str = "auto") -> list[str]:
    return [utterance.text for utterance in split_for_speech(text, language)]


def test_sentences_become_utterances_and_abbreviations_end_none():
    text = "Dr. Smith and J. Doe went to Washington. They paid $3.5 million for it! 今天天气很好。我们去公园吧。"

    assert texts(text) == [
        "Dr. Smith and J. Doe went to Washington.",
        "They paid $3.5 million for it!",
        "今天天气很好。",
        "我们去公园吧。",
    ]


def test_a_list_item_keeps_its_number():
    assert texts("1. Take the first road.\n2. Take the second road.") == [
        "1. Take the first road.",
        "2. Take the second road.",
    ]


def test_very_short_sentences_are_spoken_together():
    assert texts("Hi! OK? Yes. Then we can go on together.") == ["Hi! OK? Yes.", "Then we can go on together."]


@pytest.mark.parametrize(
    "text", ["word " * 500, "很好，" * 500, "好" * 1000, "7" * 1000, "a" * 2000, "THE BIG DOG " * 99]
)
def test_a_long_sentence_is_cut_to_what_one_breath_can_say(text):
    utterances = split_for_speech(text, "auto")

    assert len(utterances) > 1
    assert max(len(utterance.text) for utterance in utterances) <= 510
    assert max(len(phonemize(utterance.text, utterance.language).phonemes) for utterance in utterances) <= 700
    assert "".join(utterance.text for utterance in utterances).replace(" ", "") == text.replace(" ", "")


def test_what_cannot_be_read_stays_with_a_neighbor_that_can():
    assert texts("👍👍👍! Hello there, my friend. 😀😀. The end of the story.") == [
        "👍👍👍! Hello there, my friend. 😀😀.",
        "The end of the story.",
    ]


def test_figures_keep_the_language_of_the_words_around_them():
    utterances = split_for_speech("These are the numbers.\n123456.\n今天的数字是这些。\n123456。", "auto")

    assert [utterance.language for utterance in utterances] == ["auto", "en", "auto", "zh"]


def test_kanji_stay_japanese_where_the_kana_of_their_clause_are_in_another_utterance():
    utterances = split_for_speech("日本語" * 60 + "、ひらがな" * 20 + "。世界很大，你好吗？", "auto")

    assert [utterance.language for utterance in utterances][:2] == ["ja", "ja"]
    assert utterances[-1].language == "auto"
    assert phonemize(utterances[-1].text, utterances[-1].language).segments[0].language == "zh"


def test_figures_alone_are_cantonese_where_mandarin_would_be():
    assert [utterance.language for utterance in split_for_speech("今日天氣好好。\n123456。", "auto_yue")] == [
        "auto_yue",
        "yue",
    ]


def test_a_text_without_words_is_refused():
    codes = []
    for text in ("", "...", "😀", "Привет"):
        with pytest.raises(ModelError) as refused:
            split_for_speech(text, "auto")
        codes.append(refused.value.code)

    assert codes == ["empty_text", "empty_text", "unreadable_text", "unreadable_text"]


def test_pieces_of_the_reference_are_at_most_510_characters_even_without_a_mark():
    assert [len(piece) for piece in split_sentences("好" * 1100, "zh", "cut5")] == [510, 510, 81]


def test_a_split_method_that_does_not_exist_is_refused_by_name():
    with pytest.raises(ModelError, match="cut9"):
        cut("hello", "cut9")


@pytest.mark.parametrize("method", CUT_METHODS)
def test_an_empty_text_has_no_pieces(method):
    assert split_sentences("", "zh", method) == []
    assert split_sentences("\n\n", "zh", method) == []


@pytest.mark.parametrize("method", list(CUT_METHODS))
@pytest.mark.parametrize(
    "text",
    ["他说：“你好，世界！”然后……走了。价格是3.14元。", 'Really? "Yes," he said. (No.)\n\nVersion 2.5 —— ok;', "。"],
)
def test_fragments_of_a_method_keep_every_character(method: str, text: str):
    assert "".join(fragments_by_method(text, method)) == text


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("cut0", ["一二三四，五六七八。九十一二，三四五六。七八九十！"]),
        ("cut1", ["一二三四，五六七八。九十一二，三四五六。七八九十！"]),
        ("cut3", ["一二三四，五六七八。", "九十一二，三四五六。", "七八九十！"]),
        ("cut4", ["一二三四，五六七八。九十一二，三四五六。七八九十！"]),
        ("cut5", ["一二三四，", "五六七八。", "九十一二，", "三四五六。", "七八九十！"]),
    ],
)
def test_a_method_decides_where_utterances_end(method: str, expected: list[str]):
    text = "一二三四，五六七八。九十一二，三四五六。七八九十！"

    assert [utterance.text for utterance in split_for_speech(text, "zh", method=method)] == expected


def test_what_no_model_says_in_one_breath_is_cut_at_its_sentences_whatever_the_method():
    text = "".join(f"This is sentence number {number}, and it goes on for a while. " for number in range(9))

    utterances = [utterance.text for utterance in split_for_speech(text, "en", method="cut0")]

    assert len(utterances) > 1
    assert all(utterance.endswith("a while.") for utterance in utterances)
    assert " ".join(utterances) == text.strip()


def test_an_unknown_method_is_named():
    with pytest.raises(ModelError, match="cut9") as caught:
        split_for_speech("Hello.", "en", method="cut9")

    assert caught.value.code == "unknown_split_method"
