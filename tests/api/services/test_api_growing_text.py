"""Where text that arrives in pieces is cut to be spoken."""

from __future__ import annotations

from itertools import pairwise

import pytest

from api.services.growing_text import CutPlace, GrowingText, TextPiece, text_parts
from api.services.text_splitting import sentences
from common.ssml_start import may_become_ssml

ENGLISH = "Well, the weather is fine today. It costs 3.50 dollars, doesn't it? Dr. Smith says so... and then he left."
CHINESE = "今天天气很好，我们去公园玩吧。你觉得怎么样？"


def take_all(text: GrowingText, *, urgent: bool) -> list[TextPiece]:
    pieces = []
    while piece := text.take(urgent=urgent):
        pieces.append(piece)
    return pieces


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_without_haste_only_whole_sentences_are_taken_however_the_text_arrives(size: int):
    text = GrowingText(sentences)
    pieces = []
    for first in range(0, len(ENGLISH), size):
        text.append(ENGLISH[first : first + size])
        pieces += take_all(text, urgent=False)
    rest = text.flush()
    assert rest is not None

    cut = [piece for part in (*pieces, rest) for piece in sentences(part.text) if piece]
    assert [sentence.strip() for sentence in cut] == [
        "Well, the weather is fine today.",
        "It costs 3.50 dollars, doesn't it?",
        "Dr. Smith says so...",
        "and then he left.",
    ]
    assert "".join(piece.text for piece in (*pieces, rest)) == ENGLISH


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
@pytest.mark.parametrize("size", [1, 4, 11])
def test_pieces_are_the_text_without_a_gap_even_in_haste(text: str, size: int):
    growing = GrowingText(sentences)
    pieces: list[TextPiece] = []
    for first in range(0, len(text), size):
        growing.append(text[first : first + size])
        pieces += take_all(growing, urgent=True)
    rest = growing.flush()
    pieces += [rest] if rest else []

    assert "".join(piece.text for piece in pieces) == text
    assert [piece.start for piece in pieces] == [
        sum(len(before.text) for before in pieces[:count]) for count in range(len(pieces))
    ]


def test_in_haste_a_sentence_begins_with_three_words_and_never_within_one():
    text = GrowingText(sentences)
    text.append("The quick brow")
    assert text.take(urgent=True) is None

    text.append("n fo")

    assert text.take(urgent=True) == TextPiece("The quick brown ", 0, CutPlace.WORD)


def test_in_haste_a_comma_goes_before_a_word():
    text = GrowingText(sentences)
    text.append("When it rains, we stay at ")

    assert text.take(urgent=True) == TextPiece("When it rains,", 0, CutPlace.CLAUSE)


def test_an_inline_tag_is_not_cut():
    text = GrowingText(sentences)
    text.append("We met at {the lake | L EY1")

    assert text.take(urgent=True) is None


@pytest.mark.parametrize("declaration", ["", "\ufeff  ", "<?xml version='1.0'?>\n"])
def test_ssml_is_spoken_when_it_is_complete_however_it_arrives(declaration: str):
    document = f"{declaration}<speak>One sentence. Another one.</speak>"
    text = GrowingText(sentences, may_become_ssml)
    for character in document:
        text.append(character)
        assert text.take(urgent=True) is None

    assert text.flush() == TextPiece(document, 0, CutPlace.SENTENCE)


def test_what_only_begins_like_ssml_is_cut_like_any_text():
    text = GrowingText(sentences, may_become_ssml)
    text.append("<speakers> are loud. They")

    assert text.take(urgent=False) == TextPiece("<speakers> are loud.", 0, CutPlace.SENTENCE)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(" ".join(["The end of it."] * 40), id="sentences"),
        pytest.param("word " * 300, id="one sentence"),
        pytest.param("今天天气很好我们去公园玩吧" * 30, id="no spaces"),
        pytest.param(" " * 500 + "at last" + " " * 500, id="whitespace"),
        pytest.param("and {300 ms} then [voice:Miss Moon] she " * 30, id="tags"),
    ],
)
def test_the_parts_of_a_long_text_are_the_text_and_end_with_words_outside_of_tags(text: str):
    parts = list(text_parts(text, sentences, 100))

    assert "".join(parts) == text
    assert len(parts) > 1
    for part, following in pairwise(parts):
        assert part.count("{") == part.count("}")
        assert part.count("[") == part.count("]")
        assert part[-1].isspace() or following[0].isspace() or part[-1] > "぀"
        assert len(part.strip()) <= 100 + len("[voice:Miss Moon]")


def test_a_tag_that_is_never_closed_holds_nothing_back():
    text = "{" + "word " * 500

    parts = list(text_parts(text, sentences, 100))

    assert "".join(parts) == text
    assert max(map(len, parts)) <= 200
