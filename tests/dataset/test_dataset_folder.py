"""The training-set folder: what is written is read back, and a crash leaves no half of it."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from GPT_SoVITS.dataset.folder import (
    Annotation,
    NameToText,
    read_annotations,
    read_features,
    read_name2text,
    read_semantic,
    read_tensor,
    write_annotations,
    write_features,
    write_name2text,
    write_semantic,
    write_tensor,
)
from GPT_SoVITS.errors import ModelError


def test_annotations_are_lines_of_four_fields(tmp_path):
    path = tmp_path / "talk.list"

    write_annotations(path, [Annotation("a.wav", "bob", "en", "Hello."), Annotation("b.wav", "bob", "zh", "你好。")])

    assert path.read_text(encoding="utf-8") == "a.wav|bob|EN|Hello.\nb.wav|bob|ZH|你好。\n"
    assert read_annotations(path) == [
        Annotation("a.wav", "bob", "en", "Hello."),
        Annotation("b.wav", "bob", "zh", "你好。"),
    ]


def test_what_would_break_a_line_becomes_a_blank(tmp_path):
    write_annotations(tmp_path / "a.list", [Annotation("a.wav", "bob", "en", "one|two\nthree\tfour")])
    write_name2text(tmp_path, [NameToText("a.wav", ["AH0"], None, "one\ttwo\nthree")])

    assert read_annotations(tmp_path / "a.list")[0].text == "one two three four"
    assert read_name2text(tmp_path)[0].norm_text == "one two three"


def test_annotations_from_elsewhere_are_tidied_and_bad_lines_are_named(tmp_path, caplog):
    path = tmp_path / "a.list"
    path.write_bytes(
        '\ufeff\u202a"D:\\talk\\a.wav" |bob|JP|こんにちは\r\n\nb.wav|bob|EN|with | bar\nc.wav/|bob|AUTO| hi '.encode()
    )

    with caplog.at_level(logging.WARNING):
        annotations = read_annotations(path)

    assert annotations == [
        Annotation("D:/talk/a.wav", "bob", "ja", "こんにちは"),
        Annotation("c.wav", "bob", "auto", "hi"),
    ]
    assert "Line 2 of a.list has 5 fields" in caplog.text


def test_name2text_has_the_original_s_form(tmp_path):
    entries = [
        NameToText("a.wav", ["HH", "AH0"], None, "hi"),
        NameToText("b.wav", ["n", "i3"], [2], "你"),
    ]

    write_name2text(tmp_path, entries)

    assert (tmp_path / "2-name2text.txt").read_text(
        encoding="utf-8"
    ) == "a.wav\tHH AH0\tNone\thi\nb.wav\tn i3\t[2]\t你\n"
    assert read_name2text(tmp_path) == entries


def test_semantic_tokens_have_the_original_s_form(tmp_path):
    write_semantic(tmp_path, {"a.wav": [1, 511], "b.wav": np.array([3])})

    text = (tmp_path / "6-name2semantic.tsv").read_text()
    assert text == "item_name\tsemantic_audio\na.wav\t1 511\nb.wav\t3\n"
    assert read_semantic(tmp_path) == {"a.wav": [1, 511], "b.wav": [3]}


def test_both_stages_read_what_is_written(tmp_path):
    from GPT_SoVITS.gpt.data import read_items

    write_name2text(tmp_path, [NameToText("a.wav", ["HH", "AH0"] * 3, None, "hi")])
    write_semantic(tmp_path, {"a.wav": range(25)})

    items, left_out = read_items(tmp_path, ["HH", "AH0"], max_seconds=54)

    assert [(item.name, len(item.phonemes), len(item.tokens)) for item in items] == [("a.wav", 6, 25)]
    assert not left_out


def test_features_are_stored_channels_first(tmp_path):
    features = np.random.default_rng(0).standard_normal((50, 512)).astype(np.float32)
    folder = tmp_path / "4-cnhubert"
    folder.mkdir()

    write_features(folder, "b.wav", features)
    write_features(folder, "a.wav", features[:10])

    assert sorted(path.name for path in folder.iterdir()) == ["a.wav.pt", "b.wav.pt"]
    assert torch.load(folder / "b.wav.pt", weights_only=True).shape == (1, 512, 50)
    entries = read_features(tmp_path)
    assert [name for name, _ in entries] == ["a.wav", "b.wav"]
    np.testing.assert_array_equal(entries[1][1][0].T.numpy(), features)


def test_features_as_the_original_stores_them_are_read(tmp_path):
    features = torch.randn(1, 5, 8).half().transpose(1, 2).requires_grad_()
    torch.save(features, tmp_path / "a.wav.pt")

    tensor = read_tensor(tmp_path / "a.wav.pt")

    assert tensor.shape == (1, 8, 5)
    assert tensor.dtype == torch.float32
    assert not tensor.requires_grad
    assert torch.equal(tensor, features.detach().float())


def test_a_stored_tensor_takes_no_more_room_than_it_needs(tmp_path):
    large = torch.randn(1, 1000, 8)

    write_tensor(tmp_path, "a.wav", large.transpose(1, 2)[..., :5].requires_grad_())

    assert (tmp_path / "a.wav.pt").stat().st_size < 4000
    stored = torch.load(tmp_path / "a.wav.pt", weights_only=True)
    assert stored.is_contiguous()
    assert torch.equal(stored, large[:, :5].transpose(1, 2))


def test_a_feature_file_that_is_missing_or_no_tensor_is_named(tmp_path):
    torch.save({"a": 1}, tmp_path / "b.wav.pt")

    with pytest.raises(ModelError, match=r"a\.wav\.pt cannot be read"):
        read_tensor(tmp_path / "a.wav.pt")
    with pytest.raises(ModelError, match="holds no tensor"):
        read_tensor(tmp_path / "b.wav.pt")


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"no 6-name2semantic\.tsv"):
        read_semantic(tmp_path)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")

    with pytest.raises(UnicodeEncodeError):
        write_annotations(path, [Annotation("a.wav", "speaker", "en", "good so far \ud800")])

    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
