"""Phonemes for English words out of the vocabulary: a small encoder-decoder network, run in NumPy.

The weights are those of g2p-en 2.1.0 (Apache-2.0), rounded to float16; the sums are done in float32.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from GPT_SoVITS.text.data import FOLDER

FloatArray = NDArray[np.float32]

LETTERS = {"<pad>": 0, "<unk>": 1, "</s>": 2, **{chr(ord("a") + i): 3 + i for i in range(26)}}
PHONEMES = (  # noqa: SIM905
    "<pad> <unk> <s> </s> AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 B CH D DH "
    "EH0 EH1 EH2 ER0 ER1 ER2 EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG OW0 OW1 OW2 OY0 OY1 OY2 "
    "P R S SH T TH UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH"
).split()
START, STOP = 2, 3
MAX_PHONEMES = 20


@lru_cache(maxsize=4096)
def predict(word: str) -> tuple[str, ...]:
    """Decode a lower-case word greedily, to at most 20 phonemes."""
    weights = _weights()
    letters = [LETTERS.get(letter, LETTERS["<unk>"]) for letter in word] + [LETTERS["</s>"]]
    hidden = np.zeros(weights["enc_w_hh"].shape[1], dtype=np.float32)  # (256,)
    for letter in letters:
        hidden = _gru_step(weights, "enc", letter, hidden)
    phonemes: list[str] = []
    previous = START
    for _ in range(MAX_PHONEMES):
        hidden = _gru_step(weights, "dec", previous, hidden)
        previous = int((weights["fc_w"] @ hidden + weights["fc_b"]).argmax())
        if previous == STOP:
            break
        phonemes.append(PHONEMES[previous])
    return tuple(phonemes)


def _gru_step(weights: dict[str, FloatArray], side: str, symbol: int, hidden: FloatArray) -> FloatArray:
    """Run one step of a GRU in PyTorch's order of gates: reset, update, new. `hidden`: (256,)."""
    inside = weights[f"{side}_inputs"][symbol]  # (768,)
    across = weights[f"{side}_w_hh"] @ hidden + weights[f"{side}_b_hh"]  # (768,)
    size = len(hidden)
    gates = 1 / (1 + np.exp(-(inside[: 2 * size] + across[: 2 * size])))
    reset, update = gates[:size], gates[size:]
    new = np.tanh(inside[2 * size :] + reset * across[2 * size :])
    state: FloatArray = (1 - update) * new + update * hidden
    return state


@cache
def _weights() -> dict[str, FloatArray]:
    with np.load(FOLDER / "en_unknown_words.npz") as archive:
        weights = {name: archive[name].astype(np.float32) for name in archive.files}
    for side in ("enc", "dec"):  # what a symbol adds to the gates never changes: (symbols, 768)
        weights[f"{side}_inputs"] = weights[f"{side}_emb"] @ weights[f"{side}_w_ih"].T + weights[f"{side}_b_ih"]
    return weights
