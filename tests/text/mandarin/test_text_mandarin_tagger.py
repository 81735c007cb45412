"""The tagger against jieba's own."""

from __future__ import annotations

from functools import cache

import jieba
import jieba.posseg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jieba.posseg.viterbi import viterbi

from GPT_SoVITS.text.mandarin.tagger import best_path, jieba_tagger

IDEOGRAPHS = st.one_of(
    st.sampled_from("不一儿好的了在银行长重龘"), st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5)
)
SENTENCES = st.lists(
    st.one_of(
        st.sampled_from(["银行", "行长", "的", "南京市长江大桥", "了", "一", ".", "。", "B超", "重"]), IDEOGRAPHS
    ),
    max_size=12,
).map("".join)


@cache
def _original() -> tuple[jieba.Tokenizer, jieba.posseg.POSTokenizer]:
    segmenter = jieba.Tokenizer()
    segmenter.FREQ, segmenter.total = segmenter.gen_pfdict(segmenter.get_dict_file())
    segmenter.initialized = True
    return segmenter, jieba.posseg.POSTokenizer(segmenter)


@settings(max_examples=25)
@given(text=st.text(IDEOGRAPHS, min_size=1, max_size=8))
def test_the_best_path_is_the_one_that_jieba_finds(text):
    model = jieba.posseg
    _, expected = viterbi(text, model.char_state_tab_P, model.start_P, model.trans_P, model.emit_P)

    assert best_path(text) == expected


@settings(max_examples=100)
@given(text=st.one_of(SENTENCES, st.text(st.one_of(IDEOGRAPHS, st.sampled_from(",.!?…-a1")), max_size=10)))
def test_words_and_parts_of_speech_are_those_of_jieba(text):
    tagger = jieba_tagger()
    original, original_tagger = _original()

    assert [tuple(token) for token in tagger.cut(text)] == [
        (pair.word, pair.flag) for pair in original_tagger.cut(text)
    ]
    assert list(tagger.segmenter.cut_for_search(text)) == list(original.cut_for_search(text))


@pytest.mark.parametrize("word", ["银行", "的", "AT&T", "龢", "一心一意"])
def test_a_word_has_its_count_and_its_part_of_speech(word):
    segmenter = jieba_tagger().segmenter
    original, original_tagger = _original()

    assert segmenter.FREQ.get(word) == original.FREQ[word]
    assert segmenter.FREQ.tag(word) == original_tagger.word_tag_tab[word]
    assert segmenter.total == original.total
