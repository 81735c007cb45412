"""The tagger against jieba's own."""

from __future__ import annotations

from functools import cache

import jieba.posseg
from hypothesis import given, settings
from hypothesis import strategies as st
from jieba.posseg.viterbi import viterbi

from GPT_SoVITS.text.mandarin_tagger import best_path, jieba_parts

IDEOGRAPHS = st.one_of(
    st.sampled_from("不一儿好的了在银行长重龘"), st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5)
)


@cache
def _original() -> jieba.posseg.POSTokenizer:
    return jieba.posseg.POSTokenizer(jieba_parts()[0])


@settings(deadline=None, derandomize=True, max_examples=25)
@given(text=st.text(IDEOGRAPHS, min_size=1, max_size=8))
def test_the_best_path_is_the_one_that_jieba_finds(text):
    model = jieba.posseg
    _, expected = viterbi(text, model.char_state_tab_P, model.start_P, model.trans_P, model.emit_P)

    assert best_path(text) == expected


@settings(deadline=None, derandomize=True, max_examples=25)
@given(text=st.text(st.one_of(IDEOGRAPHS, st.sampled_from(",.!?…-")), max_size=10))
def test_words_and_parts_of_speech_are_those_of_jieba(text):
    _, tagger = jieba_parts()

    assert [*map(str, tagger.cut(text))] == [*map(str, _original().cut(text))]
