"""g2pM: syllables of single Mandarin characters in context by a small network, where no phrase decides them.

The weights and word lists are those of the package g2pM (Apache-2.0); it is run here, many times as fast.
"""

from __future__ import annotations

import pickle
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.mandarin.pinyin import indices_in_phrases, pinyin_in_context

FloatArray = NDArray[np.float32]


class _Network(NamedTuple):
    """One layer of LSTM in both directions and two dense layers. H: 32 a direction, E: 64."""

    character_ids: dict[str, int]
    polyphones: frozenset[str]
    embedding: FloatArray  # (characters, E)
    input_weights: list[FloatArray]
    """Of both directions, (4H, E)."""
    biases: list[FloatArray]  # (4H,)
    hidden_weights: FloatArray  # (2, 4H, H)
    dense: list[tuple[FloatArray, FloatArray]]
    syllables: dict[int, str]
    """Label → its syllable."""


@lru_cache(maxsize=8192)
def predict_pinyin(text: str) -> tuple[str, ...]:
    """Return a syllable for each character: by pypinyin's phrases, else by the network where there are several."""
    syllables = list(pinyin_in_context(text))
    network = _network()
    never_predicted = table("g2pw_char_rules")["never_ask_model"]
    in_phrases = indices_in_phrases(text)
    indices = [
        index
        for index, character in enumerate(text)
        if character in network.polyphones and index not in in_phrases and character not in never_predicted
    ]
    if indices:
        for index, syllable in zip(indices, _predict(network, text, indices)):
            syllables[index] = syllable.replace("u:", "v")
    return tuple(syllables)


def _predict(network: _Network, text: str, indices: list[int]) -> list[str]:
    """Return the syllables of the characters at `indices`, of which there are Q."""
    unknown = network.character_ids["<UNK>"]
    start, end = network.character_ids["시"], network.character_ids["끝"]  # the package's names of the two borders
    ids = [start, *(network.character_ids.get(character, unknown) for character in text), end]
    embedded = network.embedding[ids]  # (T, E)
    forward = embedded @ network.input_weights[0].T + network.biases[0]  # (T, 4H)
    backward = embedded[::-1] @ network.input_weights[1].T + network.biases[1]
    hidden = _lstm(np.stack([forward, backward], axis=1), network.hidden_weights)  # (T, 2, H)
    both = np.concatenate([hidden[:, 0], hidden[::-1, 1]], axis=1)[[index + 1 for index in indices]]  # (Q, 2H)
    (first, first_bias), (second, second_bias) = network.dense
    logits = np.maximum(both @ first.T + first_bias, 0) @ second.T + second_bias
    return [network.syllables[int(label)] for label in logits.argmax(axis=1)]


def _lstm(gates: FloatArray, hidden_weights: FloatArray) -> FloatArray:
    """Return the states, (T, 2, H), for `gates`, (T, 2, 4H): what the inputs add to the gates in, forget, new, out."""
    size = hidden_weights.shape[2]
    hidden = cell = np.zeros((2, size), dtype=np.float32)
    states = np.empty((len(gates), 2, size), dtype=np.float32)
    for step, inside in enumerate(gates):
        total = inside + np.matmul(hidden_weights, hidden[:, :, None])[:, :, 0]  # (2, 4H)
        sigmoid = 1 / (1 + np.exp(-total))
        new = np.tanh(total[:, 2 * size : 3 * size])
        cell = sigmoid[:, size : 2 * size] * cell + sigmoid[:, :size] * new
        hidden = sigmoid[:, 3 * size :] * np.tanh(cell)
        states[step] = hidden
    return states


@cache
def _network() -> _Network:
    syllables_by_character = _load_packaged("digest_cedict")
    weights = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in _load_packaged("np_ckpt").items()}
    biases = {side: weights[f"lstm.bias_ih_l0{side}"] + weights[f"lstm.bias_hh_l0{side}"] for side in ("", "_reverse")}
    return _Network(
        character_ids=_load_packaged("char2idx"),
        polyphones=frozenset(
            character for character, syllables in syllables_by_character.items() if len(syllables) > 1
        ),
        embedding=weights["embedding.weight"],
        input_weights=[weights["lstm.weight_ih_l0"], weights["lstm.weight_ih_l0_reverse"]],
        biases=list(biases.values()),
        hidden_weights=np.stack([weights["lstm.weight_hh_l0"], weights["lstm.weight_hh_l0_reverse"]]),
        dense=[(weights[f"logit_layer.{layer}.weight"], weights[f"logit_layer.{layer}.bias"]) for layer in (0, 2)],
        syllables={label: syllable for syllable, label in _load_packaged("class2idx").items()},
    )


def _load_packaged(name: str) -> Any:
    """Load a file of the package; its own class would leave the files open."""
    specification = find_spec("g2pM")
    assert specification, "this is called only where it is installed"
    path = Path(str(specification.origin)).with_name(f"{name}.pkl")
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301  # as trustworthy as the package's code
