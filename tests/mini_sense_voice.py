"""A recognizer in SenseVoice's format that hears one thing: a loud stretch is 好, silence is nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WINDOW, SHIFT, BINS = 7, 6, 80
TOKENS = ("<blank>", "<|zh|>", "<|en|>", "<|NEUTRAL|>", "<|Speech|>", "<|woitn|>", "好", "▁good")
LANGUAGES = {"auto": 0, "zh": 3, "en": 4, "yue": 7, "ja": 11, "ko": 12}
LOUD = 12.0
"""Mean of the log mel energies from which a frame is speech."""
BLANK, HEARD = TOKENS.index("<blank>"), TOKENS.index("好")


def write_mini_sense_voice(folder: Path) -> Path:
    """Write `model.int8.onnx` and `tokens.txt` and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    width = WINDOW * BINS
    weight = np.zeros((width, len(TOKENS)), np.float32)
    weight[:, HEARD] = 1 / width
    bias = np.full(len(TOKENS), -100.0, np.float32)
    bias[BLANK], bias[HEARD] = 0.0, -LOUD
    prefix = np.full((1, 4, len(TOKENS)), -100.0, np.float32)
    for frame, token in enumerate(("<|zh|>", "<|NEUTRAL|>", "<|Speech|>", "<|woitn|>")):
        prefix[0, frame, TOKENS.index(token)] = 0.0
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weight"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["frames"]),
            helper.make_node("Concat", ["prefix", "frames"], ["logits"], axis=1),
        ],
        "mini",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "T", width]),
            *(
                helper.make_tensor_value_info(n, TensorProto.INT32, ["N"])
                for n in ("x_length", "language", "text_norm")
            ),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", "T4", len(TOKENS)])],
        [
            numpy_helper.from_array(array, name)
            for name, array in (("weight", weight), ("bias", bias), ("prefix", prefix))
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    facts = {
        "model_type": "sense_voice_ctc",
        "version": "1",
        "model_author": "tests",
        "maintainer": "tests",
        "comment": "mini",
        "url": "",
        "vocab_size": len(TOKENS),
        "normalize_samples": 0,
        "lfr_window_size": WINDOW,
        "lfr_window_shift": SHIFT,
        "neg_mean": ",".join(["0"] * width),
        "inv_stddev": ",".join(["1"] * width),
        "with_itn": 14,
        "without_itn": 15,
        **{f"lang_{language}": number for language, number in LANGUAGES.items()},
    }
    for name, value in facts.items():
        model.metadata_props.add(key=name, value=str(value))
    onnx.save(model, folder / "model.int8.onnx")
    lines = "".join(f"{token} {number}\n" for number, token in enumerate(TOKENS))
    (folder / "tokens.txt").write_text(lines, encoding="utf-8")
    return folder
