"""Lists of transcripts, as people write them."""

from __future__ import annotations

import pytest

from core.datasets.transcripts import TranscriptIndex, parse_transcript_list


def transcripts(text: str) -> TranscriptIndex:
    lines, bad = parse_transcript_list(text.encode(), "a.list")
    assert bad == []
    index = TranscriptIndex()
    index.add(lines)
    return index


@pytest.mark.parametrize(
    "path",
    [
        "wavs/a.wav",
        "./wavs/a.wav",
        "D:\\data\\wavs\\a.wav",
        '"/home/me/wavs/a.wav"',
        "WAVS/A.WAV",
    ],
)
def test_a_line_finds_its_recording_however_its_path_is_written(path: str) -> None:
    line = transcripts(f"{path}|bob|JP|Konnichi wa.\n").find("set/wavs/a.wav")

    assert line is not None
    assert (line.speaker, line.language, line.text) == ("bob", "ja", "Konnichi wa.")


def test_a_name_that_two_lines_have_is_not_guessed() -> None:
    index = transcripts("one/a.wav|x|EN|One.\ntwo/a.wav|x|EN|Two.\n")

    assert index.find("three/a.wav") is None
    line = index.find("two/a.wav")
    assert line is not None
    assert line.text == "Two."
    assert index.unused() == ["one/a.wav"]


def test_lines_that_cannot_be_read_are_named() -> None:
    lines, bad = parse_transcript_list(b"a.wav|x|EN|Yes.\nb.wav|x|EN\nc.wav|x|QQ|No.\n|x|EN|No.\n", "a.list")

    assert [line.path for line in lines] == ["a.wav"]
    assert [item["name"] for item in bad] == ["a.list, line 2", "a.list, line 3", "a.list, line 4"]
    assert "3 fields" in bad[0]["reason"]
    assert "'QQ'" in bad[1]["reason"]


def test_a_list_in_the_encoding_of_chinese_windows_is_read() -> None:
    lines, _ = parse_transcript_list("a.wav|x|ZH|你好，世界。".encode("gb18030"), "a.list")

    assert lines[0].text == "你好，世界。"


def test_a_text_that_is_no_list_is_one_sentence() -> None:
    lines, bad = parse_transcript_list(b"Read me first.\nThen read me again.\n", "README.txt")

    assert lines == []
    assert bad == [{"name": "README.txt", "reason": "No line of it is `path|speaker|language|text`."}]
