"""A user's own pronunciations: what can be written, where a word is found, and what is refused."""

from __future__ import annotations

import pytest

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text import phonemize, read_markup


def said(text: str, language: str = "auto", **pronunciations: str) -> str:
    return " ".join(phonemize(text, language, retry=False, pronunciations=pronunciations).phonemes)


@pytest.mark.parametrize(
    ("text", "language", "word", "reading", "phones"),
    [
        ("银行", "zh", "行", "xing4", "y in2 x ing4"),
        ("绿", "zh", "绿", "lü4", "l v4"),
        ("绿", "zh", "绿", "lǜ", "l v4"),
        ("银行", "zh", "银行", "yín háng", "y in2 h ang2"),
        ("银行", "zh", "银行", "yin2hang2", "y in2 h ang2"),
        ("银行", "yue", "银行", "ngan4 hong4", "Yng Yan4 Yh Yong4"),
        ("a GIF now", "en", "GIF", "JH IH1 F", "AH0 JH IH1 F N AW1"),
        ("本気だ", "ja", "本気", "マジ", "m a ] j i d a"),
        ("橋", "ja", "橋", "h a [ sh i", "h a [ sh i"),
        ("값", "ko", "값", "갑", "ㄱ ㅏ ㅂ ."),
        ("价格", "zh", "价格", "=多大", "d uo1 d a4"),
    ],
)
def test_a_reading_is_written_as_its_language_writes_it(text, language, word, reading, phones):
    assert said(text, language, **{word: reading}) == phones


def test_a_word_keeps_its_reading_in_a_text_of_another_language():
    spoken = phonemize("我的GIF很好", "auto", pronunciations={"GIF": "JH IH1 F"})

    assert [(piece.language, piece.norm_text) for piece in spoken.segments] == [
        ("zh", "我的"),
        ("en", "GIF"),
        ("zh", "很好"),
    ]


@pytest.mark.parametrize(
    ("text", "word", "is_matched"),
    [
        ("a cat", "cat", True),
        ("a CAT", "cat", True),
        ("category", "cat", False),
        ("us", "US", False),
        ("US", "US", True),
        ("C++ code", "c++", True),
    ],
)
def test_a_word_is_found_whole_and_in_capitals_only_as_it_is_written(text, word, is_matched):
    assert ("ZH" in said(text, "en", **{word: "ZH UW1 ZH"})) == is_matched


def test_the_longer_of_two_words_counts_and_what_it_says_is_not_looked_up_again():
    assert said("重庆火锅", "zh", 重="zhong4", 重庆="=成都", 成="sheng4") == "ch eng2 d u1 h uo3 g uo1"


def test_numbers_and_titles_beside_a_reading_are_read_as_without_it():
    assert said("2个", "zh", 个="ge4").startswith("l iang3")
    assert said("Dr. Smith", "en", Smith="S M AY1 TH") == "D AA1 K T ER0 S M AY1 TH"


def test_an_ideograph_that_no_dictionary_knows_is_read_as_the_user_says():
    spoken = phonemize("我叫㐂", "zh", pronunciations={"㐂": "xi3"})

    assert " ".join(spoken.phonemes) == "w o3 j iao4 x i3"
    assert len(spoken.word2ph) == len(spoken.norm_text)


def test_a_pause_sign_keeps_its_place_beside_a_reading():
    assert said("好^行", "zh", 行="hang2") == "h ao3 SP3 h ang2"


def test_what_is_skipped_has_its_place_in_the_text_as_it_was_sent():
    spoken = phonemize("价格很好，привет", "auto", pronunciations={"价格": "=这个东西的价钱"})

    assert spoken.skipped == [(5, "привет")]


@pytest.mark.parametrize(
    ("word", "reading", "complaint"),
    [
        ("字", "zz4", "'zz4' is no syllable of Mandarin"),
        ("字", "zi4 ma1", "2 syllables"),
        ("GIF", "ji1 fu2", "each ideograph takes one"),
        ("字", "zi9", "is no Pinyin"),
        ("GIF", "G IH F", "IH needs its stress"),
        ("GIF", "G QQ F", "'QQ' is no phone of English"),
        ("字", "zi", "'zi' is no Japanese phone"),
        ("字", "", "is empty"),
        ("字", "=", "Nothing is to be said"),
        (" ", "zi4", "is empty"),
    ],
)
def test_a_reading_that_is_none_is_refused_with_what_is_wrong(word, reading, complaint):
    with pytest.raises(ModelError) as refused:
        phonemize("字", "zh", pronunciations={word: reading})

    assert refused.value.code == "bad_pronunciation"
    assert complaint in refused.value.message


def test_jyutping_is_no_pinyin_and_needs_a_text_in_cantonese():
    with pytest.raises(ModelError) as refused:
        phonemize("行", "zh", pronunciations={"行": "hong6"})

    assert refused.value.code == "bad_pronunciation"
    assert said("行", "yue", 行="hong6") == "Yh Yong6"


def test_a_dictionary_has_a_thousand_words_at_most():
    with pytest.raises(ModelError) as refused:
        read_markup("hello", pronunciations={f"word{number}": "=x" for number in range(1001)})

    assert refused.value.code == "bad_pronunciation"
