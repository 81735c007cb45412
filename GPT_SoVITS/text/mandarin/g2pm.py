"""g2pM: readings of single Mandarin characters in context by a small network, where no phrase decides them.

The weights and word lists are those of the package g2pM (Apache-2.0); it is run here, many times as fast.
"""

from __future__ import annotations

import pickle
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.mandarin.pinyin import in_context, in_phrases


class _Network(NamedTuple):
    """One layer of LSTM in both directions and two dense layers. H: 32 a direction, E: 64."""

    numbers: dict[str, int]
    """Character → its number."""
    polyphones: frozenset[str]
    embedding: Any  # (characters, E)
    inputs: list[Any]
    """Of both directions, (4H, E)."""
    biases: list[Any]  # (4H,)
    across: Any  # (2, 4H, H)
    dense: list[tuple[Any, Any]]
    readings: dict[int, str]


def read(text: str) -> list[str]:
    """A `Reader`: pypinyin's phrases first, then the network for a character with several readings."""
    return list(_read(text))


@lru_cache(maxsize=8192)
def _read(text: str) -> tuple[str, ...]:
    syllables = in_context(text)
    network = _network()
    never = table("g2pw_char_rules")["never_ask_model"]
    covered = in_phrases(text)
    asked = [
        index
        for index, character in enumerate(text)
        if character in network.polyphones and index not in covered and character not in never
    ]
    if asked:
        for index, reading in zip(asked, _predict(network, text, asked)):
            syllables[index] = reading.replace("u:", "v")
    return tuple(syllables)


def _predict(network: _Network, text: str, asked: list[int]) -> list[str]:
    unknown = network.numbers["<UNK>"]
    start, end = network.numbers["시"], network.numbers["끝"]  # the package's names of the two borders
    ids = [start, *(network.numbers.get(character, unknown) for character in text), end]
    embedded = network.embedding[ids]  # (T, E)
    forward = embedded @ network.inputs[0].T + network.biases[0]  # (T, 4H)
    backward = embedded[::-1] @ network.inputs[1].T + network.biases[1]
    hidden = _lstm(np.stack([forward, backward], axis=1), network.across)  # (T, 2, H)
    both = np.concatenate([hidden[:, 0], hidden[::-1, 1]], axis=1)[[index + 1 for index in asked]]  # (Q, 2H)
    (first, first_bias), (second, second_bias) = network.dense
    logits = np.maximum(both @ first.T + first_bias, 0) @ second.T + second_bias
    return [network.readings[int(label)] for label in logits.argmax(axis=1)]


def _lstm(gates: Any, across: Any) -> Any:
    """`gates`: (T, 2, 4H), what the inputs add to the gates in the order in, forget, new, out. Gives (T, 2, H)."""
    size = across.shape[2]
    hidden = cell = np.zeros((2, size), dtype=np.float32)
    states = np.empty((len(gates), 2, size), dtype=np.float32)
    for step, inside in enumerate(gates):
        total = inside + np.matmul(across, hidden[:, :, None])[:, :, 0]  # (2, 4H)
        sigmoid = 1 / (1 + np.exp(-total))
        new = np.tanh(total[:, 2 * size : 3 * size])
        cell = sigmoid[:, size : 2 * size] * cell + sigmoid[:, :size] * new
        hidden = sigmoid[:, 3 * size :] * np.tanh(cell)
        states[step] = hidden
    return states


@cache
def _network() -> _Network:
    readings = _packaged("digest_cedict")
    weights = {name: _float32(array) for name, array in _packaged("np_ckpt").items()}
    biases = {side: weights[f"lstm.bias_ih_l0{side}"] + weights[f"lstm.bias_hh_l0{side}"] for side in ("", "_reverse")}
    return _Network(
        numbers=_packaged("char2idx"),
        polyphones=frozenset(character for character, several in readings.items() if len(several) > 1),
        embedding=weights["embedding.weight"],
        inputs=[weights["lstm.weight_ih_l0"], weights["lstm.weight_ih_l0_reverse"]],
        biases=list(biases.values()),
        across=np.stack([weights["lstm.weight_hh_l0"], weights["lstm.weight_hh_l0_reverse"]]),
        dense=[(weights[f"logit_layer.{layer}.weight"], weights[f"logit_layer.{layer}.bias"]) for layer in (0, 2)],
        readings={number: reading for reading, number in _packaged("class2idx").items()},
    )


def _packaged(name: str) -> Any:
    """A file of the package; its own class would leave them open."""
    specification = find_spec("g2pM")
    assert specification, "it is asked for only where it is installed"
    path = Path(str(specification.origin)).with_name(f"{name}.pkl")
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301  # as trustworthy as the package's code


def _float32(array: Any) -> Any:
    return np.ascontiguousarray(array, dtype=np.float32)
