"""Mixed texts, languages, and what cannot be said."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest
from single_language import phonemize_segment

from common.languages import LANGUAGE_ALIASES, LANGUAGE_CODES
from core.speech.checks import canonical_language
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text import language_codes, phonemize, resolve_language
from GPT_SoVITS.text.languages import load_language
from GPT_SoVITS.text.segmentation import segment_by_language
from GPT_SoVITS.text.symbols import symbols


def pieces(text: str, code: str) -> list[tuple[str, str]]:
    return [(piece.language, piece.text) for piece in segment_by_language(text, code)]


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        ("我在Apple上班。", "zh", [("zh", "我在"), ("en", "Apple"), ("zh", "上班。")]),
        ("iPhone 15卖5999元", "zh", [("en", "iPhone 15"), ("zh", "卖5999元")]),
        ("iPhone 15卖5999元", "all_zh", [("en", "iPhone "), ("zh", "15卖5999元")]),
        ("我有2, please", "auto", [("zh", "我有2, "), ("en", "please")]),
        ("跑了5km到", "auto", [("zh", "跑了5km到")]),
        ("I ran 5km today", "auto", [("en", "I ran 5km today")]),
        ("你好こんにちは", "auto", [("zh", "你好"), ("ja", "こんにちは")]),
        ("日本語です。中国话", "auto", [("ja", "日本語です。"), ("zh", "中国话")]),
        ("这个の设计", "auto", [("zh", "这个"), ("ja", "の"), ("zh", "设计")]),
        ("안녕 hello", "auto", [("ko", "안녕 "), ("en", "hello")]),
        ("안녕", "zh", [("zh", "안녕")]),
        ("😀你好", "auto", [("zh", "😀你好")]),
        ("今日はAppleの新製品を", "ja", [("ja", "今日は"), ("en", "Apple"), ("ja", "の新製品を")]),
        ("오늘은 Apple 제품", "ko", [("ko", "오늘은 "), ("en", "Apple "), ("ko", "제품")]),
        ("我喺Apple返工", "yue", [("yue", "我喺"), ("en", "Apple"), ("yue", "返工")]),
        ("iPhone 15を買う", "ja", [("en", "iPhone 15"), ("ja", "を買う")]),
        ("iPhone 15を買う", "all_ja", [("en", "iPhone "), ("ja", "15を買う")]),
        ("iPhone 15 샀다", "all_ko", [("en", "iPhone "), ("ko", "15 샀다")]),
        ("iPhone 15卖", "all_yue", [("en", "iPhone "), ("yue", "15卖")]),
        ("你好。こんにちは。안녕", "auto_yue", [("yue", "你好。"), ("ja", "こんにちは。"), ("ko", "안녕")]),
        ("23度", "auto_yue", [("yue", "23度")]),
        ("学校へ行く。单独", "auto", [("ja", "学校へ行く。"), ("zh", "单独")]),
        ("単独の行動", "auto", [("ja", "単独の行動")]),
        ("…", "auto", [("zh", "…")]),
        ("…", "all_ko", [("ko", "…")]),
        ("", "auto", [("zh", "")]),
        ("你好", "en", [("en", "你好")]),
    ],
)
def test_a_text_is_cut_by_script(text, code, expected):
    assert pieces(text, code) == expected


def test_what_cannot_be_read_is_reported_with_its_place():
    spoken = phonemize("Hello Привет 👍 world", "en")

    assert spoken.norm_text == "Hello world"
    assert spoken.skipped == [(6, "Привет"), (13, "👍")]


def test_a_language_that_the_version_has_no_phones_for_is_skipped_and_reported():
    spoken = phonemize("한국어. Hello world", "auto", "v1")

    assert spoken.skipped == [(0, "한국어.")]
    assert spoken.norm_text == "Hello world"


def test_models_of_v1_speak_three_languages():
    assert [len(language_codes(version)) for version in ("v1", "v2", "v4", "nano")] == [6, 11, 11, 11]
    with pytest.raises(ModelError, match="v1") as refused:
        phonemize("안녕", "ko", "v1")

    assert refused.value.code == "unsupported_language"
    assert "all_ja" in refused.value.hint
    assert phonemize("こんにちは", "ja", "v1").phonemes[:3] == ["k", "o", "UNK"]


def test_only_the_language_whose_library_is_missing_asks_for_it(monkeypatch):
    load_language.cache_clear()
    monkeypatch.setattr(
        "GPT_SoVITS.text.languages.find_spec", lambda name: None if name == "pyopenjtalk" else find_spec(name)
    )

    with pytest.raises(ModelError, match="Japanese needs pyopenjtalk, which is not installed") as refused:
        phonemize("こんにちは", "auto")

    assert (refused.value.code, refused.value.hint) == ("missing_part", 'pip install "sovitsd[ja]"')
    assert phonemize("안녕하세요", "auto").phonemes
    load_language.cache_clear()


def test_the_service_and_the_front_end_know_the_same_names_of_languages():
    codes = {code: code for code in LANGUAGE_CODES}

    for find in (resolve_language, canonical_language):
        assert {name: find(name) for name in (*LANGUAGE_ALIASES, *codes)} == {**LANGUAGE_ALIASES, **codes}


@pytest.mark.parametrize("text", ["", "  \n", "...", "\u200b", "!?", "'"])
@pytest.mark.parametrize("code", LANGUAGE_CODES)
def test_a_text_without_words_is_empty(text, code):
    with pytest.raises(ModelError) as refused:
        phonemize(text, code)

    assert refused.value.code == "empty_text"


@pytest.mark.parametrize("text", ["😀", "Привет", "\ud800", "ไทย"])
def test_a_text_of_other_scripts_is_unreadable(text):
    with pytest.raises(ModelError) as refused:
        phonemize(text, "auto")

    assert refused.value.code == "unreadable_text"
    assert refused.value.hint


@pytest.mark.parametrize("language", ["fr", "xx", "en\ud800", "🙂"])
def test_a_language_that_cannot_be_spoken_is_refused_by_name(language):
    with pytest.raises(ModelError) as refused:
        phonemize("hello", language)

    assert refused.value.code == "unsupported_language"
    assert "auto" in refused.value.hint


def test_languages_are_known_by_their_usual_names():
    names = ("English", "EN", "en_US", "zh-CN", "Chinese", "ZH", "", "Auto")

    assert [resolve_language(name) for name in names] == ["en", "en", "en", "zh", "zh", "zh", "auto", "auto"]
    assert set(LANGUAGE_ALIASES.values()) <= set(LANGUAGE_CODES)


@pytest.mark.parametrize(
    ("text", "code", "norm_text"),
    [("5", "zh", ".五"), ("5", "yue", ".五"), ("5", "en", ". five"), ("5", "ja", "。5"), ("5", "ko", "。5")],
)
def test_the_stop_before_a_short_number_makes_no_decimal_of_it(text, code, norm_text):
    assert phonemize(text, code).norm_text == norm_text


def test_a_mixed_text_has_phone_counts_only_where_every_piece_has():
    assert phonemize("你好，世界", "auto").word2ph == [2, 2, 1, 2, 2]
    assert phonemize("你好 world", "auto").word2ph is None


@pytest.mark.parametrize("version", ["v1", "v2", "v2Pro", "nano"])
def test_ids_point_at_the_phones_of_the_version(version):
    spoken = phonemize("Hello, 世界!", "auto", version)

    assert [symbols(version)[index] for index in spoken.ids] == spoken.phonemes


def test_a_phone_that_the_version_lacks_becomes_unknown():
    assert "UNK" not in phonemize_segment("hello", "en", "v1").phonemes
    assert [len(symbols(version)) for version in ("v1", "v2")] == [322, 732]


def test_importing_the_front_end_loads_no_dictionary_and_no_model_library():
    program = (
        "import sys; import GPT_SoVITS.text as t; libraries = {'numpy', 'torch', 'onnxruntime', 'jieba', 'pypinyin', "
        "'g2pM', 'opencc', 'pyopenjtalk', 'g2pk2', 'mecab', 'nltk', 'ToJyutping'}; "
        "assert not libraries & set(sys.modules); t.phonemize('Hello there', 'en'); "
        "assert not libraries & set(sys.modules); t.phonemize('안녕하세요', 'ko'); "
        "assert libraries & set(sys.modules) == {'mecab'}"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("text", ["com", "the end", "net", "Go"])
def test_the_full_stop_before_a_short_word_makes_no_domain_of_it(text: str) -> None:
    phonemized = phonemize(text, "en")

    assert phonemized.spoken_phonemes == phonemize(text, "en", retry=False).spoken_phonemes
