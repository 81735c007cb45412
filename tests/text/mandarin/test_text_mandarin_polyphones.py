"""Readings of Mandarin characters in context: g2pW where its model is there, else g2pM."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from single_language import phonemize_segment

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text import TextFrontend
from GPT_SoVITS.text.mandarin.frontend import Mandarin
from GPT_SoVITS.text.mandarin.g2pm import predict_pinyin
from GPT_SoVITS.text.mandarin.g2pw import G2PW, open_g2pw
from GPT_SoVITS.text.mandarin.pinyin import pinyin_in_context

POLYPHONES = [("行", "ㄏㄤ2"), ("行", "ㄒㄧㄥ2"), ("長", "ㄓㄤ3"), ("長", "ㄔㄤ2"), ("不", "ㄅㄨ4"), ("不", "ㄈㄡ3")]
LABELS = sorted({reading for _, reading in POLYPHONES})
INPUTS = {
    "input_ids": (7, "Q L"), "token_type_ids": (7, "Q L"), "attention_mask": (7, "Q L"),
    "phoneme_mask": (1, "Q labels"), "char_ids": (7, "Q"), "position_ids": (7, "Q"),
}  # fmt: skip
"""Name → (ONNX's number of its type, its axes)."""


class Recorder:
    """In place of the model: remembers what it was asked, and prefers the label that it is told."""

    def __init__(self, preferred: str) -> None:
        self.preferred = LABELS.index(preferred)
        self.asked: list[dict[str, np.ndarray]] = []

    def run(self, outputs, inputs):
        self.asked.append(inputs)
        likely = np.full_like(inputs["phoneme_mask"], 0.1)
        likely[:, self.preferred] = 0.9
        return [likely * inputs["phoneme_mask"]]


@pytest.fixture
def models(tmp_path) -> Path:
    """Return a folder with g2pW's lists, a model that takes the first label, and RoBERTa's tokens."""
    folder, roberta = tmp_path / "G2PWModel", tmp_path / "chinese-roberta-wwm-ext-large"
    folder.mkdir()
    roberta.mkdir()
    (folder / "POLYPHONIC_CHARS.txt").write_text("".join(f"{c}\t{r}\n" for c, r in POLYPHONES), encoding="utf-8")
    (folder / "MONOPHONIC_CHARS.txt").write_text("你\tㄋㄧ3\n似\tㄙ4\n", encoding="utf-8")
    (folder / "g2pW.onnx").write_bytes(onnx_model())
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"你銀行長好,"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (roberta / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}), encoding="utf-8")
    for name in ("config.json", "pytorch_model.bin"):
        (roberta / name).write_text("{}", encoding="utf-8")
    return tmp_path


def field(number: int, content: bytes | str | int) -> bytes:
    """One field of a protocol buffer: a small number, or a string or message of any length."""
    if isinstance(content, int):
        return bytes([number << 3, content])
    raw = content.encode() if isinstance(content, str) else content
    size = len(raw)
    length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    return bytes([number << 3 | 2]) + length + raw


def value(name: str, kind: int, axes: str) -> bytes:
    shape = b"".join(field(1, field(2, axis)) for axis in axes.split())
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))


def onnx_model() -> bytes:
    """All of g2pW's inputs; the output is the mask, so the first label that a character can have wins."""
    node = field(1, "phoneme_mask") + field(2, "probabilities") + field(4, "Identity")
    inputs = b"".join(field(11, value(name, *kind)) for name, kind in INPUTS.items())
    graph = field(1, node) + field(2, "g2pw") + inputs + field(12, value("probabilities", 1, "Q labels"))
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))


def test_the_model_of_the_folder_answers_for_characters_with_several_readings(models):
    reader = open_g2pw(models)

    assert reader is not None
    assert reader("你行,") == ("ni3", "hang2", ",")


def test_the_model_is_asked_with_its_characters_labels_and_places(models):
    reader = G2PW(models / "G2PWModel", models / "chinese-roberta-wwm-ext-large")
    reader._session = model = Recorder("ㄒㄧㄥ2")

    syllables = reader("你的银行长,")

    (inputs,) = model.asked
    assert syllables[:1] + syllables[3:4] == ("ni3", "xing2")
    assert syllables[4] == "zhang3"  # of the labels that 長 has, the first
    assert inputs["input_ids"].tolist() == [[2, 4, 1, 5, 6, 7, 9, 3]] * 2  # 的 is not among the characters
    assert inputs["position_ids"].tolist() == [4, 5]
    assert inputs["char_ids"].tolist() == [sorted("行長不").index(character) for character in "行長"]
    assert inputs["phoneme_mask"].sum(axis=1).tolist() == [2, 2]
    assert {name: array.dtype.name for name, array in inputs.items()} == {
        name: "float32" if kind == 1 else "int64" for name, (kind, _) in INPUTS.items()
    }


def test_the_model_sees_sixteen_characters_around_what_it_is_asked(models):
    reader = G2PW(models / "G2PWModel", models / "chinese-roberta-wwm-ext-large")
    reader._session = model = Recorder("ㄏㄤ2")

    reader("好" * 40 + "行" + "好" * 40)

    assert model.asked[0]["input_ids"].shape == (1, 1 + 16 + 1 + 16 + 1)
    assert model.asked[0]["position_ids"].tolist() == [17]


def test_characters_that_the_model_reads_badly_are_left_to_the_dictionary(models):
    reader = G2PW(models / "G2PWModel", models / "chinese-roberta-wwm-ext-large")
    reader._session = model = Recorder("ㄈㄡ3")

    assert reader("不似") == pinyin_in_context("不似")
    assert model.asked == []


def test_without_the_model_the_default_reader_serves(tmp_path):
    assert open_g2pw(tmp_path) is None
    assert (
        TextFrontend.with_models(tmp_path).phonemize("银行行长", "zh").phonemes
        == TextFrontend().phonemize("银行行长", "zh").phonemes
    )


def test_a_front_end_with_the_official_weights_reads_by_the_model(models):
    assert phonemize_segment("行", "zh", frontend=TextFrontend.with_models(models)).phonemes == ["h", "ang2"]
    assert phonemize_segment("行", "zh", frontend=TextFrontend()).phonemes == ["x", "ing2"]


def test_a_file_that_is_no_model_is_refused_by_name(models):
    (models / "G2PWModel/g2pW.onnx").write_bytes(b"\x00" + struct.pack("<Q", 7))

    with pytest.raises(ModelError, match=r"g2pW\.onnx"):
        phonemize_segment("行", "zh", frontend=TextFrontend.with_models(models))


@pytest.mark.parametrize(
    ("text", "character", "syllable"),
    [
        ("这条河很长", "长", "chang2"),
        ("他长得很高", "长", "zhang3"),
        ("把书还给我", "还", "huan2"),
        ("我还要去", "还", "hai2"),
        ("都市生活", "都", "du1"),
    ],
)
def test_without_a_model_a_phrase_decides_and_else_a_small_network(text, character, syllable):
    assert predict_pinyin(text)[text.index(character)] == syllable


def test_the_reader_can_be_chosen():
    assert phonemize_segment(
        "猫", "zh", frontend=TextFrontend({"zh": Mandarin(lambda text: ["ma1" for _ in text])})
    ).phonemes == ["m", "a1"]


def test_the_model_without_opencc_asks_for_it(models, monkeypatch):
    monkeypatch.setattr("GPT_SoVITS.text.mandarin.g2pw.find_spec", lambda name: None)

    with pytest.raises(ModelError, match="opencc") as refused:
        phonemize_segment("行", "zh", frontend=TextFrontend.with_models(models))

    assert refused.value.hint == 'pip install "sovitsd[zh]"'
