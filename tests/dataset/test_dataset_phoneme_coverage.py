"""Which phonemes some texts lack, and which sentences to record next."""

from __future__ import annotations

import pytest

from GPT_SoVITS.dataset.phoneme_coverage import find_coverage, recording_sentences

SENTENCES = ["b c", "c d e", "a"]


def test_the_sentence_with_the_most_missing_phonemes_comes_first_and_none_adds_nothing() -> None:
    coverage = find_coverage(["a b ,"], SENTENCES, str.split)

    assert (coverage.phonemes, coverage.missing) == (5, ["c", "d", "e"])
    assert [(sentence.text, sentence.phonemes) for sentence in coverage.sentences] == [("c d e", ["c", "d", "e"])]


def test_texts_with_every_phoneme_need_no_sentence() -> None:
    coverage = find_coverage(["a b c d e f"], SENTENCES, str.split)

    assert (coverage.phonemes, coverage.missing, coverage.sentences) == (6, [], [])


@pytest.mark.parametrize("language", ["zh", "en", "ja", "ko", "yue"])
def test_there_are_sentences_for_recordings_in_every_language(language: str) -> None:
    assert len(recording_sentences(language)) >= 5


def test_there_are_none_in_another_language() -> None:
    assert recording_sentences("fr") == []
