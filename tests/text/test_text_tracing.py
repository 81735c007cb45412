"""A traced text is rewritten as `re.sub` rewrites it, and knows where its characters come from."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from GPT_SoVITS.text.tracing import TracedText

RULES = (
    (r"([0-9]+) ?(km)", r"\1 kilometers"),
    (r"\$([0-9]+)", lambda match: f"{match[1]} dollars"),
    (r"(?<=[a-z])-(?=([0-9])?)", lambda match: match[1] or ""),
    (r" {2,}", " "),
    (r"[.!?]", ""),
    (r"$", "."),
)


def sources(text: str, traced: TracedText, words: str) -> str:
    """Return what was written where some words of the rewritten text stand."""
    start = traced.text.index(words)
    span = traced.span(start, start + len(words))
    assert span is not None
    return text[span.start : span.end]


@settings(max_examples=200)
@given(text=st.text(st.sampled_from("ab1$ -.km"), max_size=30))
def test_rewriting_is_that_of_the_regular_expressions_and_places_never_go_back(text):
    traced, plain = TracedText.written(text), text
    for pattern, replacement in RULES:
        traced, plain = traced.sub(pattern, replacement), re.sub(pattern, replacement, plain)

    assert traced.text == plain
    spans = traced.spans or ()
    assert len(spans) == len(plain)
    assert all(first.start <= second.start and first.end <= second.end for first, second in pairwise(spans))


@pytest.mark.parametrize(
    ("text", "words", "written"),
    [
        ("ran 10 km today", "10", "10"),
        ("ran 10 km today", "kilometers", " km"),
        ("ran 10 km today", "today", "today"),
        ("pay $5 now", "5", "5"),
        ("pay $5 now", "dollars", "5"),
    ],
)
def test_groups_keep_their_places_and_the_rest_stands_for_the_rest(text, words, written):
    traced = TracedText.written(text).sub(*RULES[0]).sub(*RULES[1])

    assert sources(text, traced, words) == written


def test_what_a_match_and_its_words_have_in_common_keeps_its_place():
    text = "on 5 March they"
    traced = TracedText.written(text).sub("5 March", "the fifth of March")

    assert sources(text, traced, "the fifth of") == "5"
    assert sources(text, traced, "March") == "March"


def test_a_text_is_composed_with_the_places_of_its_parts():
    text = unicodedata.normalize("NFD", "é か\u3099 가나")
    traced = TracedText.written(text).compose()

    assert traced.text == "é が 가나"
    assert sources(text, traced, "が") == "か\u3099"
    assert sources(text, traced, "é") == "e\u0301"
    assert unicodedata.normalize("NFC", sources(text, traced, "가나")) == "가나"
