"""Subtitles: lines no longer than asked for, cues that end with sentences and at pauses, files that players read."""

from __future__ import annotations

import itertools
import re

import orjson
import pytest

from core.speech.subtitles import TimedUtterance, subtitles
from core.speech.words import WordTiming


def spoken(*texts: str, pause: float = 0.0, spaced: bool = True) -> TimedUtterance:
    """Return an utterance whose words last 0.3 s each, with a pause before the word `|`."""
    words: list[WordTiming] = []
    position, now = 0, 0.0
    for text in texts:
        if text == "|":
            now += pause
            continue
        word: WordTiming = {
            "text": text,
            "text_start": position,
            "text_end": position + len(text) + 1,
            "start": round(now, 3),
            "end": round(now + 0.3, 3),
        }
        if not spaced:
            word["space_after"] = False
        words.append(word)
        position, now = position + len(text) + 1, now + 0.3
    return {"text": " ".join(texts), "start": 0.0, "seconds": now, "words": words}


def cues(content: bytes) -> list[list[str]]:
    """Return the lines of each cue of an SRT or VTT file."""
    blocks = [block.splitlines() for block in content.decode().split("\n\n")]
    return [[line for line in block if "-->" not in line and not line.isdigit()] for block in blocks if len(block) > 1]


def test_srt_numbers_cues_and_writes_milliseconds_behind_a_comma():
    content = subtitles([spoken("One", "two.", "|", "Three.", pause=3600)], "srt").decode()

    assert content == ("1\n00:00:00,000 --> 00:00:00,600\nOne two.\n\n2\n01:00:00,600 --> 01:00:00,900\nThree.\n\n")


def test_vtt_has_its_header_and_escapes_what_would_be_a_tag():
    content = subtitles([spoken("A", "<b>", "&", "B.")], "vtt").decode()

    assert content == "WEBVTT\n\n00:00:00.000 --> 00:00:01.200\nA &lt;b&gt; &amp; B.\n"


@pytest.mark.parametrize("longest", [8, 20, 42])
def test_no_line_is_longer_than_asked_unless_a_word_is(longest):
    sentence = "the quick brown fox jumps over an extraordinarily lazy dog that sleeps all day long."
    words = sentence.split()
    lines = [line for cue in cues(subtitles([spoken(*words)], "srt", longest)) for line in cue]

    assert " ".join(lines) == " ".join(words)
    assert all(len(line) <= longest or " " not in line for line in lines)
    assert all(len(cue) <= 2 for cue in cues(subtitles([spoken(*words)], "srt", longest)))


def test_cues_end_with_sentences_and_not_behind_abbreviations():
    content = subtitles([spoken("Dr.", "No", "met", "J.", "Bond.", "He", "left!", '"Why?"', "He", "ran.")], "srt")

    assert cues(content) == [["Dr. No met J. Bond."], ["He left!"], ['"Why?"'], ["He ran."]]


def test_a_long_pause_ends_a_cue():
    assert cues(subtitles([spoken("one", "|", "two", pause=1.2)], "srt")) == [["one"], ["two"]]
    assert cues(subtitles([spoken("one", "|", "two", pause=0.8)], "srt")) == [["one two"]]


def test_words_without_spaces_between_them_are_not_separated():
    assert cues(subtitles([spoken("我", "买", "了", "GIF。", spaced=False)], "srt")) == [["我买了GIF。"]]


def test_json_has_cues_and_words():
    utterance = spoken("One", "two.")
    content = orjson.loads(subtitles([utterance], "json"))

    assert content["words"] == utterance["words"]
    assert content["cues"] == [{"start": 0.0, "end": 0.6, "text": "One two."}]


def test_cues_never_overlap():
    content = subtitles([spoken(*(f"word{number}." for number in range(20)))], "srt").decode()
    times = re.findall(r"(\S+) --> (\S+)", content)

    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(times))
