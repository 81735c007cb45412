"""Lists of transcripts, as people write them."""

from __future__ import annotations

import codecs
import unicodedata
from typing import Literal

import pytest

from core.datasets.transcripts import TranscriptIndex, TranscriptMatch, parse_transcript_list

ZH = "a.wav|x|ZH|你好，今天天气很好，我们一起去公园吧。"
ZH_TW = "a.wav|x|ZH|你好，今天天氣很好，我們一起去公園吧。"
YUE = "a.wav|x|YUE|你今日想食啲咩呀？我哋一齊去啦。"
JA = "a.wav|x|JA|今日はとても天気がいいですね。"
KO = "a.wav|x|KO|안녕하세요. 오늘은 날씨가 좋네요."


def match(text: str, *recordings: str) -> TranscriptMatch:
    lines, unreadable = parse_transcript_list(text.encode(), "a.list")
    assert unreadable == []
    index = TranscriptIndex()
    assert index.add(lines) == []
    return index.match(recordings)


def texts(result: TranscriptMatch) -> dict[str, str]:
    return {name: line.text for name, line in result.lines.items()}


@pytest.mark.parametrize(
    "path",
    [
        "wavs/a.wav",
        "./wavs/a.wav",
        "D:\\data\\wavs\\a.wav",
        '"/home/me/wavs/a.wav"',
        "WAVS/A.WAV",
        "a.wav",
        "other/a.wav",
    ],
)
def test_a_line_finds_its_recording_however_its_path_is_written(path: str) -> None:
    result = match(f"{path}|bob|JP|Konnichi wa.\n", "set/wavs/a.wav")

    line = result.lines["set/wavs/a.wav"]
    assert (line.speaker, line.language, line.text) == ("bob", "ja", "Konnichi wa.")
    assert result.problems == []


def test_the_longest_common_end_of_the_paths_decides() -> None:
    result = match(
        "/data/one/x/a.wav|x|EN|One.\n/data/two/x/a.wav|x|EN|Two.\n/data/b.wav|x|EN|Three.\n",
        "set/two/x/a.wav",
        "set/one/x/a.wav",
        "set/b.wav",
    )

    assert texts(result) == {"set/one/x/a.wav": "One.", "set/two/x/a.wav": "Two.", "set/b.wav": "Three."}
    assert result.problems == []


def test_one_text_never_goes_to_two_recordings() -> None:
    result = match("a.wav|x|EN|One.\n", "one/a.wav", "two/a.wav")

    assert result.lines == {}
    assert [problem["name"] for problem in result.problems] == ["one/a.wav", "two/a.wav"]
    assert all("fits 2 recordings" in problem["reason"] for problem in result.problems)


def test_a_recording_keeps_its_text_when_another_has_its_name() -> None:
    result = match("one/a.wav|x|EN|One.\n", "one/a.wav", "two/a.wav")

    assert texts(result) == {"one/a.wav": "One."}
    assert result.problems == []


def test_a_recording_that_two_lines_fit_has_no_transcript() -> None:
    result = match("one/a.wav|x|EN|One.\ntwo/a.wav|x|EN|Two.\n", "three/a.wav")

    assert result.lines == {}
    [problem] = result.problems
    assert problem["name"] == "three/a.wav"
    assert "2 entries" in problem["reason"]
    assert "one/a.wav, two/a.wav" in problem["reason"]


def test_an_equal_path_comes_before_a_longer_one() -> None:
    result = match("a.wav|x|EN|Root.\none/a.wav|x|EN|One.\n", "a.wav", "one/a.wav")

    assert texts(result) == {"a.wav": "Root.", "one/a.wav": "One."}


def test_lines_without_a_recording_are_named() -> None:
    result = match("a.wav|x|EN|One.\nb.wav|x|EN|Two.\n", "a.wav")

    assert [problem["name"] for problem in result.problems] == ["b.wav"]
    assert "no such recording" in result.problems[0]["reason"]


@pytest.mark.parametrize("in_list", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["Café/é.wav", "がぎ/ご.wav", "한국/가.wav", "Ångström.wav"])
def test_unicode_forms_of_a_path_are_equivalent(in_list: Literal["NFC", "NFD"], name: str) -> None:
    in_archive: Literal["NFC", "NFD"] = "NFD" if in_list == "NFC" else "NFC"
    recording = unicodedata.normalize(in_archive, name)

    result = match(f"{unicodedata.normalize(in_list, name)}|x|EN|One.\n", recording)

    assert texts(result) == {recording: "One."}


@pytest.mark.parametrize("second", ["wavs/a.wav", "./wavs/a.wav", "WAVS\\a.wav"])
def test_a_second_text_for_a_path_is_reported(second: str) -> None:
    lines, _ = parse_transcript_list(f"wavs/a.wav|x|EN|One.\n{second}|x|EN|Two.\n".encode(), "a.list")
    index = TranscriptIndex()

    repeated = index.add(lines)

    assert repeated == [
        {"name": "a.list, line 2", "reason": "It has a second text for wavs/a.wav; that of a.list, line 1 is used."}
    ]
    assert texts(index.match(["wavs/a.wav"])) == {"wavs/a.wav": "One."}


def test_a_second_text_in_another_unicode_form_and_list_is_reported() -> None:
    index = TranscriptIndex()
    first, _ = parse_transcript_list("é.wav|x|EN|One.".encode(), "a.list")
    second, _ = parse_transcript_list("e\u0301.wav|x|EN|Two.\n".encode(), "b.list")

    assert index.add(first) == []
    assert "second text for é.wav; that of a.list, line 1" in index.add(second)[0]["reason"]


def test_a_repeated_line_is_reported() -> None:
    lines, _ = parse_transcript_list(b"a.wav|x|EN|One.\na.wav|x|EN|One.\n", "a.list")

    assert TranscriptIndex().add(lines) == [
        {"name": "a.list, line 2", "reason": "It repeats the entry of a.wav (a.list, line 1)."}
    ]


def test_many_recordings_of_one_name_are_matched_in_little_time() -> None:
    folders = [f"{number}/take" for number in range(5000)]
    result = match(
        "".join(f"/x/{folder}/a.wav|x|EN|{folder}\n" for folder in folders), *(f"s/{f}/a.wav" for f in folders)
    )

    assert texts(result) == {f"s/{folder}/a.wav": folder for folder in folders}


def test_lines_that_cannot_be_read_are_named() -> None:
    lines, bad = parse_transcript_list(b"a.wav|x|EN|Yes.\nb.wav|x|EN\nc.wav|x|QQ|No.\n|x|EN|No.\n", "a.list")

    assert [line.path for line in lines] == ["a.wav"]
    assert [item["name"] for item in bad] == ["a.list, line 2", "a.list, line 3", "a.list, line 4"]
    assert "3 fields" in bad[0]["reason"]
    assert "'QQ'" in bad[1]["reason"]


@pytest.mark.parametrize(
    ("row", "encoding"),
    [
        *((row, "utf-8") for row in (ZH, JA, KO)), *((row, "utf-8-sig") for row in (ZH, YUE)),
        *((row, "utf-16") for row in (ZH, ZH_TW, JA, KO)), *((row, "utf-16-le") for row in (ZH, YUE, KO)),
        *((row, "utf-16-be") for row in (ZH, JA)),
        (ZH, "gbk"),
        (ZH, "gb18030"),
        (ZH_TW, "big5"),
        (YUE, "big5hkscs"),
        (JA, "shift_jis"),
        (JA, "euc_jp"),
        (KO, "cp949"),
        ("a.wav|x|ZH|你好，世界。", "gb18030"),
        ("a.wav|x|ZH|谢谢老师。", "gbk"),
        ("a.wav|x|ZH|謝謝老師。", "big5"),
        ("a.wav|x|ZH|現在是早上九點，他們已經出發了。", "big5"),
        ("a.wav|x|JA|おはようございます。", "shift_jis"),
        ("a.wav|x|JA|コンピューターを使う。", "shift_jis"),
        ("a.wav|x|JA|東京都に住んでいます。", "cp932"),
        ("a.wav|x|EN|It’s a café.", "cp1252"),
        ("ふくろう.wav|x|EN|Hello.", "shift_jis"),
        ("a.wav|x|EN|Plain.", "ascii"),
    ],
)  # fmt: skip
def test_the_encoding_of_a_list_is_recognized(row: str, encoding: str) -> None:
    lines, bad = parse_transcript_list(row.encode(encoding), "a.list")

    assert bad == []
    path, _, _, text = row.split("|")
    assert [(line.path, line.text) for line in lines] == [(path, text)]


def test_the_language_of_the_data_set_decides_where_only_paths_need_an_encoding() -> None:
    for path, encoding, language in (
        ("录音.wav", "gbk", "zh"),
        ("錄音.wav", "big5", "yue"),
        ("録音.wav", "cp932", "ja"),
    ):
        lines, _ = parse_transcript_list(f"{path}|x|EN|Hello.".encode(encoding), "a.list", language)

        assert lines[0].path == path


def test_a_byte_order_mark_of_big_endian_utf_16_is_read() -> None:
    lines, _ = parse_transcript_list(codecs.BOM_UTF16_BE + (ZH + "\r\n").encode("utf-16-be"), "a.list")

    assert lines[0].text == ZH.split("|")[3]


@pytest.mark.parametrize(
    "content",
    [
        b"a.wav|x|ZH|\xff\xfe\x80\x81\xff\n",
        b"a.wav|x|EN|\x8d\x81\x9d\x8f\x90\n",
        "a.wav|x|ZH|кошка".encode("cp1251"),
        b"a.wav|x|ZH|" + bytes(range(1, 255)),
        b"\0\1\2\3" * 100,
    ],
)
def test_a_list_whose_encoding_cannot_be_told_is_rejected(content: bytes) -> None:
    lines, bad = parse_transcript_list(content, "a.list")

    assert lines == []
    assert bad == [{"name": "a.list", "reason": "Its encoding cannot be told; save it as UTF-8."}]


def test_a_text_that_is_no_list_is_one_sentence() -> None:
    lines, bad = parse_transcript_list(b"Read me first.\nThen read me again.\n", "README.txt")

    assert lines == []
    assert bad == [{"name": "README.txt", "reason": "No line of it is `path|speaker|language|text`."}]
