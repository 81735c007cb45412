"""The sentences that the base model learns from."""

from __future__ import annotations

from pathlib import Path

from scripts.train_base.data import EVALUATION, held_out
from scripts.train_base.mandarin_sentences import ideographs_of, mandarin_utterances
from scripts.train_base.sentences import LONGEST_UTTERANCE, examples, utterances, words_of

GLOSS = """  1 This software is provided under this licence: "a licence of no use here".
00001740 03 n 01 entity 0 000 | that which exists; "she poured a cup of tea"; "a 3rd rate thing to say"
00002137 03 n 01 thing 0 000 | a deed; "We have to think again; twice!"; "no"
"""


def test_examples_are_plain_sentences_with_a_capital_and_a_mark(tmp_path: Path):
    (tmp_path / "data.noun").write_text(GLOSS, encoding="latin-1")

    assert examples(tmp_path) == ["She poured a cup of tea.", "We have to think again, twice!"]


def test_utterances_hold_every_sentence_once_in_an_order_of_the_seed():
    sentences = [f"This is sentence {'very ' * n}long." for n in range(20)]

    first, again, other = (utterances(sentences, seed=seed, leave_out=set()) for seed in (1, 1, 2))

    assert first == again != other
    assert sorted(" ".join(first).split()) == sorted(" ".join(sentences).split())
    assert all(len(text.split()) <= LONGEST_UTTERANCE for text in first)


def test_what_the_model_is_judged_by_is_left_out_however_it_is_written():
    judged = EVALUATION["en"].read_text(encoding="utf-8").splitlines()
    disguised = [sentence.upper().replace(",", "") for sentence in judged]

    assert utterances(disguised, seed=1, leave_out={words_of(sentence) for sentence in judged}) == []


def test_no_mandarin_utterance_holds_a_sentence_of_the_evaluation():
    judged = EVALUATION["zh"].read_text(encoding="utf-8").splitlines()
    others = ["今天的天气很好。", "他在学校里学习汉语", "我们明天见！"]
    disguised = [sentence.replace("，", "、") for sentence in judged]

    joined = mandarin_utterances([*disguised, *others], seed=1, leave_out=held_out("zh"))

    assert sorted(ideographs_of("".join(joined))) == sorted(ideographs_of("".join(others)))
    assert all(text[-1] in "。！？" for text in joined)
