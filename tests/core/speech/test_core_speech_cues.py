"""Subtitles of any make are read as cues, or rejected with one sentence that names the line."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidRequest, TextTooLong
from core.speech.cues import MAX_CUES, SpokenCue, decode_subtitles, parse_subtitles

SRT = "1\n00:00:01,000 --> 00:00:02,500\nHello there.\n\n2\n00:00:03,000 --> 00:00:04,000\nGood\nbye.\n"


def cues(text: str, *speakers: str) -> list[tuple[float, float, str, str]]:
    return [(cue.start, cue.end, cue.text, cue.speaker) for cue in parse_subtitles(text, speakers)]


@pytest.mark.parametrize(
    "text",
    [
        SRT,
        "\ufeff" + SRT,
        SRT.replace("\n", "\r\n"),
        SRT.replace("\n", "\r"),
        SRT.replace("1\n00", "00").replace("2\n00", "00"),  # without numbers
        SRT.replace(",", "."),
        SRT.rstrip(),
        SRT.replace(".\n\n2", ".\n2"),  # without the blank line
        SRT.replace("\n\n", "\n\n\n \n"),
        SRT.replace(" --> ", "-->"),
        "WEBVTT - a title\nKind: captions\n\nNOTE nobody --- reads this\n\n" + SRT.replace(",", "."),
        "WEBVTT\n\nSTYLE\n::cue { color: red }\n\n" + SRT.replace("00:00:", "00:").replace(",", "."),
        SRT.replace("02,500", "02,500 align:start position:10%"),
        SRT.replace("Hello", "<i>He</i><font color='#fff'>llo</font>").replace("bye", "{\\an8}bye"),
        SRT.replace("Hello there", "&#72;ello&nbsp;there").replace("Good", "- Good"),
    ],
)
def test_all_of_these_say_the_same(text: str) -> None:
    assert cues(text) == [(1.0, 2.5, "Hello there.", ""), (3.0, 4.0, "Good bye.", "")]


def test_cues_come_in_the_order_of_their_times_and_may_overlap() -> None:
    text = "00:05 --> 00:06\nb\n\n00:01 --> 00:09\na\n"

    assert cues(text) == [(1, 9, "a", ""), (5, 6, "b", "")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("<v Anna>Hello", ("Hello", "Anna")),
        ("<v.loud Dr. Bob>Hello</v>", ("Hello", "Dr. Bob")),
        ("anna: Hello", ("Hello", "Anna")),
        ("[ANNA] Hello", ("Hello", "Anna")),
        ("小明：你好", ("你好", "小明")),
        ("Note: this is text", ("Note: this is text", "")),
        ("[laughs] Hello", ("[laughs] Hello", "")),
        ("♪ ♪", ("", "")),
        ("1984", ("1984", "")),
        ("a < b & c > d", ("a < b & c > d", "")),
        ("I <3 you", ("I <3 you", "")),
        ("<00:00:01.500>Ka<c>ra</c>oke", ("Karaoke", "")),
    ],
)
def test_words_have_no_tags_and_maybe_a_speaker(line: str, expected: tuple[str, str]) -> None:
    text = f"WEBVTT\n\n00:01.000 --> 00:02.000\n{line}\n"

    assert cues(text, "Anna", "小明") == [(1.0, 2.0, *expected)]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "have no cue"),
        ("Hello there.", "have no cue"),
        ("1\n00:00:01,000 --> \nHello\n", "The line 2 has no times of a cue: '00:00:01,000 -->'"),
        ("00:00:01,000 --> soon\nHello\n", "The line 1 has no times of a cue"),
        (" --> 00:00:01,000\nHello\n", "The line 1 has no times of a cue"),
        ("-00:00:01,000 --> 00:00:01,000\nHello\n", "The line 1 has no times of a cue"),
        ("00:00:02,000 --> 00:00:01,000\nHello\n", "The cue at line 1 ends at 1 s, and begins at 2 s."),
        ("00:00:02,000 --> 00:00:02,000\nHello\n", "The cue at line 1 ends at 2 s"),
        ("99:00:02,000 --> 99:00:03,000\nHello\n", "ends after 99.0 hours; 4 are the most"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(text: str, part: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_subtitles(text)

    assert part in caught.value.message


def test_a_hundred_thousand_cues_and_very_long_ones_are_too_much() -> None:
    with pytest.raises(TextTooLong, match=r"have 100,000 cues; 5,000 is the most"):
        parse_subtitles("00:01 --> 00:02\na\n\n" * 100_000)
    with pytest.raises(TextTooLong, match=r"cue at line 1 has 1,001 characters"):
        parse_subtitles("00:01 --> 00:02\n" + "a" * 1001)
    assert len(parse_subtitles("00:01 --> 00:02\na\n\n" * MAX_CUES)) == MAX_CUES


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_are_unicode(encoding: str) -> None:
    text = "00:01 --> 00:02\nGrüße, 世界\n"

    assert cues(decode_subtitles(text.encode(encoding))) == [(1, 2, "Grüße, 世界", "")]


def test_a_file_in_another_encoding_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"The subtitles are no UTF-8 from byte 2 on\."):
        decode_subtitles("Größe".encode("cp1252"))
    with pytest.raises(TextTooLong):
        decode_subtitles(bytes(5 << 20))


_PIECES = st.sampled_from(
    ["\n", "\r\n", " ", "-->", " --> ", "00:00:01,000", "00:02.5", "1", "WEBVTT", "NOTE", "<i>", "<v A>", "{\\an8}",
     "&lt;",
     "a:", "♪",
     "Hello", "\ufeff", "\x00", "\ud800", "99:99:99,999", "-"]
)  # fmt: skip


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.lists(st.one_of(_PIECES, st.text(max_size=5)), max_size=40).map("".join))
def test_any_text_becomes_cues_or_one_clear_sentence(text: str) -> None:
    parsed: list[SpokenCue] = []
    with contextlib.suppress(InvalidRequest, TextTooLong):
        parsed = parse_subtitles(text, ["a"])
    assert parsed == sorted(parsed, key=lambda cue: (cue.start, cue.end))
    assert all(0 <= cue.start < cue.end and "\n" not in cue.text for cue in parsed)


_TEXT = (
    st.text("abc äあ漢,.!?", min_size=1, max_size=30).map(str.strip).filter(lambda text: text and not text.isdecimal())
)
_TIME = st.integers(0, 3_600_000)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.tuples(_TIME, st.integers(1, 9999), _TEXT), min_size=1, max_size=8), st.booleans())
def test_what_was_written_is_read_again(written: list[tuple[int, int, str]], vtt: bool) -> None:
    def clock(milliseconds: int) -> str:
        seconds, rest = divmod(milliseconds, 1000)
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{'.' if vtt else ','}{rest:03}"

    blocks = [
        f"{number}\n{clock(start)} --> {clock(start + length)}\n{text}\n"
        for number, (start, length, text) in enumerate(written, 1)
    ]
    parsed = parse_subtitles(("WEBVTT\n\n" if vtt else "") + "\n".join(blocks))
    expected = [
        SpokenCue(start / 1000, (start + length) / 1000, " ".join(text.split())) for start, length, text in written
    ]

    assert [(cue.start, cue.end, cue.text) for cue in parsed] == [
        (cue.start, cue.end, cue.text) for cue in sorted(expected, key=lambda cue: (cue.start, cue.end))
    ]
