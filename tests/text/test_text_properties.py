"""Whatever the text: an answer or a refusal by name, in time that grows with its length only."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from single_language import phonemize_segment

from common.languages import LANGUAGE_CODES
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text import (
    CUT_METHODS,
    language_codes,
    phonemize,
    resolve_language,
    split_for_speech,
    split_sentences,
    spoken_languages,
)
from GPT_SoVITS.text.segmentation import segment_by_language
from GPT_SoVITS.text.symbols import symbols

REFUSALS = {"empty_text", "unreadable_text"}
OF_V1 = {"unsupported_language"}
"""What v1 answers besides, where it lacks a language."""
ANYTHING = st.text(st.characters(exclude_categories=()), max_size=60)  # lone surrogates as well
SPEECH = st.lists(
    st.sampled_from(
        [
            *"aZé'好一不儿的銀行０9١½²$￥€%°.,!?…。，—–-~:/^\n \t😀がカ한Я�\u200b",
            "word",
            "NASA",
            "1,000",
            "3.14",
            "8:30",
            "2024-03-05",
            "5km",
            "http://a.com/b",
            "Dr.",
            "1. ",
            "第2名",
            "a@b.org",
            *"ーっゝ々〆〇龘乃값의ㅋᄀ㗎卅𠀀⼀｡ｶﾞヺ",
            "です。",
            "1,000円",
            "읽다",
            "3시 30분",
            "佢哋",
        ]
    ),
    max_size=30,
).map("".join)
ANY_TEXT = st.one_of(ANYTHING, SPEECH)
CODE = st.sampled_from(sorted(LANGUAGE_CODES))
VERSION = st.sampled_from(["v1", "v2"])
UNHURRIED = settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])


def letters(text: str) -> str:
    return "".join(character for character in text if unicodedata.category(character)[0] in "LNMS")


def answer(call, *arguments):
    """Return what the call returns, and the code of its refusal if it refused."""
    try:
        return call(*arguments), None
    except ModelError as refused:
        refused.message.encode()  # an error must be fit to be sent
        return None, refused.code


@UNHURRIED
@given(text=ANY_TEXT, code=CODE, version=VERSION)
def test_any_text_has_phones_or_is_refused_by_name(text, code, version):
    spoken, refusal = answer(phonemize, text, code, version)

    if spoken is None:
        assert refusal in REFUSALS | (set() if code in language_codes(version) else OF_V1)
        return
    assert spoken.ids
    assert [symbols(version)[index] for index in spoken.ids] == spoken.phonemes
    for piece in spoken.segments:
        if piece.word2ph is not None:
            assert (len(piece.word2ph), sum(piece.word2ph)) == (len(piece.norm_text), len(piece.phonemes))
    for position, fragment in spoken.skipped:
        assert text[position : position + len(fragment)] == fragment


@UNHURRIED
@given(text=ANY_TEXT, language=st.sampled_from(spoken_languages()), version=VERSION)
def test_any_text_in_one_language_has_known_phones(text, language, version):
    cleaned, refusal = answer(phonemize_segment, text, language, version)

    assert refusal in ({None} if language in spoken_languages(version) else OF_V1)
    if cleaned is not None:
        assert set(cleaned.phonemes) <= set(symbols(version))
        assert cleaned.word2ph is None or sum(cleaned.word2ph) == len(cleaned.phonemes)


@UNHURRIED
@given(text=ANY_TEXT, code=CODE)
def test_utterances_keep_every_letter_and_can_all_be_spoken(text, code):
    utterances, refusal = answer(split_for_speech, text, code)

    if utterances is None:
        assert refusal in REFUSALS
        return
    assert letters("".join(utterance.text for utterance in utterances)) == letters(text)
    for utterance in utterances:
        assert phonemize(utterance.text, utterance.language).ids


@UNHURRIED
@given(text=ANY_TEXT, code=CODE)
def test_a_text_that_can_be_spoken_can_be_split(text, code):
    assert answer(split_for_speech, text, code)[1] in (None, answer(phonemize, text, code)[1])


@UNHURRIED
@given(text=ANY_TEXT, code=CODE)
def test_pieces_of_one_language_are_the_whole_text(text, code):
    pieces = segment_by_language(text, code)

    assert pieces
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.start for piece in pieces] == [sum(len(p.text) for p in pieces[:i]) for i in range(len(pieces))]


@UNHURRIED
@given(text=ANY_TEXT, method=st.sampled_from(sorted(CUT_METHODS)), language=st.sampled_from(["en", "zh"]))
def test_every_cut_method_answers_any_text(text, method, language):
    pieces, refusal = answer(split_sentences, text, language, method)

    assert refusal in (None, "empty_text")
    assert all(piece and len(piece) <= 510 for piece in pieces or ())


@UNHURRIED
@given(name=ANYTHING)
def test_any_name_of_a_language_is_known_or_refused(name):
    code, refusal = answer(resolve_language, name)

    assert code in LANGUAGE_CODES or refusal == "unsupported_language"


HUNDRED_THOUSAND = (
    *["9", "a", "好", "word ", "你好，world。", "1,", "1.", "A.", "1-", "1~", "1+", "1:", "1/2", "$1 ", "1,000", "a@"],
    *["www.", "1km~", ".", "'", "-", " ", "\n", "^", "😀", "\ud800", "あ亜", "a😀", "1 a 好 ", "Dr. ", "½", "²", "不"],
    *["ア", "漢か", "값이 ", "3시 ", "一", "儿", "zxqv ", "ABCD ", "a\u0301", "x 1. "],
)


@pytest.mark.slow
@pytest.mark.parametrize("unit", HUNDRED_THOUSAND, ids=ascii)
def test_a_hundred_thousand_characters_take_seconds(unit):
    text = (unit * (100_000 // len(unit) + 1))[:100_000]
    phonemize("hello 你好", "auto")
    started = time.process_time()

    refusals = {answer(call, text, "auto")[1] for call in (phonemize, split_for_speech)}

    assert refusals <= {None, *REFUSALS}
    assert time.process_time() - started < 30  # of the processor; a slow machine takes ten
