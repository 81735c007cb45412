"""Mixed texts, languages, and what cannot be said."""

from __future__ import annotations

import subprocess
import sys

import pytest

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text import CODES, LANGUAGES, clean, process, resolve
from GPT_SoVITS.text.segment import segment
from GPT_SoVITS.text.symbols import symbols


def pieces(text: str, code: str) -> list[tuple[str, str]]:
    return [(piece.language, piece.text) for piece in segment(text, code)]


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
        ("…", "auto", [("zh", "…")]),
        ("", "auto", [("zh", "")]),
        ("你好", "en", [("en", "你好")]),
    ],
)
def test_a_text_is_cut_by_script(text, code, expected):
    assert pieces(text, code) == expected


def test_what_cannot_be_read_is_reported_with_its_place():
    spoken = process("Hello Привет 👍 world", "en")

    assert spoken.norm_text == "Hello world"
    assert spoken.skipped == [(6, "Привет"), (13, "👍")]


def test_a_language_without_a_voice_yet_is_skipped_and_reported():
    spoken = process("日本語です。Hello world", "auto")

    assert spoken.skipped == [(0, "日本語です。")]
    assert spoken.norm_text == "Hello world"


@pytest.mark.parametrize("text", ["", "  \n", "...", "\u200b", "!?", "'"])
@pytest.mark.parametrize("code", CODES)
def test_a_text_without_words_is_empty(text, code):
    with pytest.raises(ModelError) as refused:
        process(text, code)

    assert refused.value.code == "empty_text"


@pytest.mark.parametrize("text", ["😀", "Привет", "\ud800", "한국어"])
def test_a_text_of_other_scripts_is_unreadable(text):
    with pytest.raises(ModelError) as refused:
        process(text, "auto")

    assert refused.value.code == "unreadable_text"
    assert refused.value.hint


@pytest.mark.parametrize("language", ["ja", "xx", "en\ud800", "🙂"])
def test_a_language_that_cannot_be_spoken_is_refused_by_name(language):
    with pytest.raises(ModelError) as refused:
        process("hello", language)

    assert refused.value.code == "unsupported_language"
    assert "auto" in refused.value.hint


def test_languages_are_known_by_their_usual_names():
    names = ("English", "EN", "en_US", "zh-CN", "Chinese", "ZH", "", "Auto")

    assert [resolve(name) for name in names] == ["en", "en", "en", "zh", "zh", "zh", "auto", "auto"]
    assert set(LANGUAGES.values()) <= set(CODES)


def test_a_mixed_text_has_phone_counts_only_where_every_piece_has():
    assert process("你好，世界", "auto").word2ph == [2, 2, 1, 2, 2]
    assert process("你好 world", "auto").word2ph is None


@pytest.mark.parametrize("version", ["v1", "v2", "v2Pro", "nano"])
def test_ids_point_at_the_phones_of_the_version(version):
    spoken = process("Hello, 世界!", "auto", version)

    assert [symbols(version)[index] for index in spoken.ids] == spoken.phones


def test_a_phone_that_the_version_lacks_becomes_unknown():
    assert "UNK" not in clean("hello", "en", "v1").phones
    assert [len(symbols(version)) for version in ("v1", "v2")] == [322, 732]


def test_importing_the_front_end_loads_no_dictionary_and_no_model_library():
    program = (
        "import sys; import GPT_SoVITS.text as t; "
        "assert not {'torch', 'numpy', 'jieba', 'pypinyin'} & set(sys.modules); t.process('Hello there', 'en'); "
        "assert not {'torch', 'jieba', 'pypinyin'} & set(sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
