from __future__ import annotations

import pytest
import torch

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.data import bucket_order, collate, read_items, read_texts
from GPT_SoVITS.text.symbols import symbols


def test_recordings_are_read_in_the_order_of_the_semantic_file(training_set):
    items, left_out = read_items(training_set, symbols("v2"), max_seconds=54)

    assert [item.name for item in items] == [f"{i:02d}.wav" for i in range(12)]
    assert not left_out


def test_what_is_left_out_has_a_reason(training_set):
    with (training_set / "2-name2text.txt").open("a") as texts:
        texts.write("fast.wav\t" + " ".join(["a1"] * 30) + "\tNone\tfast\n")
        texts.write("strange.wav\ta1 a1 xyzzy\tNone\tstrange\n")
        texts.write("three.wav\ta1\tNone\n")
    with (training_set / "6-name2semantic.tsv").open("a") as tokens:
        tokens.writelines(f"{name}.wav\t{' '.join(['1'] * 25)}\n" for name in ("fast", "strange", "three"))

    items, left_out = read_items(training_set, symbols("v2"), max_seconds=54)

    assert len(items) == 12
    assert left_out == {
        "more than 25 phonemes a second": 1,
        "a phoneme that this version does not know": 1,
        "no transcript": 1,
    }


def test_a_repeated_name_keeps_its_last_transcript(tmp_path):
    path = tmp_path / "2-name2text.txt"
    path.write_text("a\tx y\tNone\told\na\tz\tNone\tnew\n")

    assert read_texts(path) == {"a": ["z"]}


def test_a_missing_file_and_a_token_that_is_none_are_errors(training_set):
    with (training_set / "6-name2semantic.tsv").open("a") as tokens:
        tokens.write("x.wav\t1 two 3\n")
    with pytest.raises(ModelError, match=r"Line 14 of 6-name2semantic\.tsv"):
        read_items(training_set, symbols("v2"), max_seconds=54)

    (training_set / "2-name2text.txt").unlink()
    with pytest.raises(ModelError, match=r"no 2-name2text\.txt"):
        read_items(training_set, symbols("v2"), max_seconds=54)


def test_features_of_another_length_are_stale(training_set):
    folder = training_set / "3-bert"
    folder.mkdir()
    torch.save(torch.zeros(1024, 3), folder / "00.wav.pt")
    items, _ = read_items(training_set, symbols("v2"), max_seconds=54)

    with pytest.raises(ModelError, match=r"00\.wav have shape \(1024, 3\)"):
        collate(items[:2])
    assert collate(items[1:3]).bert is None


def test_an_epochs_order_holds_everything_once_and_does_not_touch_the_global_generator():
    import random

    random.seed(3)
    before = random.getstate()
    lengths = [(i * 37) % 300 + 20 for i in range(77)]

    orders = [bucket_order(lengths, 8, epoch=epoch) for epoch in range(3)]

    assert all(sorted(order) == list(range(77)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert random.getstate() == before
