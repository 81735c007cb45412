"""g2pW: syllables of Mandarin characters by an ONNX model (docs/spec/text-frontend.md §6.4)."""

from __future__ import annotations

import json
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from GPT_SoVITS.checkpoints.catalog import find_part
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.mandarin.pinyin import pinyin_in_context

MODEL = "g2pW.onnx"
CLASSIFIER, SEPARATOR, UNKNOWN = "[CLS]", "[SEP]", "[UNK]"


def open_g2pw(models: Path, *, threads: int = 1) -> G2PW | None:
    """Return the model of the official weights below `models`; None where they, or RoBERTa's vocabulary, are not."""
    try:
        return G2PW(find_part(models, "g2pw"), find_part(models, "roberta"), threads=threads)
    except ModelError as error:
        if error.code == "missing_part":
            return None
        raise


class _Characters(NamedTuple):
    """The lists of characters in the model's folder; a syllable is Bopomofo with a digit for the tone."""

    polyphones: dict[str, tuple[int, list[int]]]
    """Character → its id for the model, and the indices of the labels that it can have."""
    labels: list[str]
    monophones: dict[str, str]
    """Character → its only syllable."""


class G2PW:
    """A `PolyphoneModel`: a stretch of Mandarin → a syllable for each character. The model is loaded on first use."""

    def __init__(self, folder: Path, vocabulary: Path, *, threads: int = 1) -> None:
        """Use the model and lists of characters in `folder`, and RoBERTa's WordPiece vocabulary in `vocabulary`."""
        self.folder = folder
        self.vocabulary = vocabulary
        self.threads = threads
        self._cached_pinyin = lru_cache(maxsize=4096)(self._predict_pinyin)

    def __call__(self, text: str) -> tuple[str, ...]:
        """Return a syllable for each character: by the model where there are several, else by its list or pypinyin."""
        return self._cached_pinyin(text)

    def _predict_pinyin(self, text: str) -> tuple[str, ...]:
        syllables = list(pinyin_in_context(text))
        convert = self._converter.convert  # to the characters of Taiwan, as many as there are
        traditional = convert(text)
        if len(traditional) != len(text):
            traditional = "".join(
                converted if len(converted := convert(character)) == 1 else character for character in text
            )
        rules = table("g2pw_char_rules")
        indices = []
        for index, character in enumerate(traditional):
            if character in self._characters.polyphones and character not in rules["never_ask_model"]:
                indices.append(index)
            elif character in self._characters.monophones and character not in rules["never_use_single_reading_list"]:
                syllables[index] = _pinyin(self._characters.monophones[character]) or syllables[index]
        if indices:
            for index, label in zip(indices, self._predict_labels(traditional, indices)):
                syllables[index] = _pinyin(label) or syllables[index]
        return tuple(syllables)

    def _predict_labels(self, text: str, indices: list[int]) -> list[str]:
        """Return the label of each of Q characters; the model sees a little text around them, of L tokens."""
        context = table("g2pw_char_rules")["context_characters"]
        start, end = max(0, indices[0] - context), indices[-1] + context + 1
        tokens = [CLASSIFIER, *text[start:end].lower(), SEPARATOR]
        ids = [self._tokens.get(token, self._tokens[UNKNOWN]) for token in tokens]  # (L,)
        polyphones = [self._characters.polyphones[text[index]] for index in indices]
        mask = np.zeros((len(indices), len(self._characters.labels)), dtype=np.float32)  # (Q, labels)
        for row, (_, labels) in enumerate(polyphones):
            mask[row, labels] = 1
        rows = (len(indices), 1)
        probabilities = self._session.run(
            None,
            {
                "input_ids": np.tile(np.array(ids, dtype=np.int64), rows),  # (Q, L)
                "token_type_ids": np.zeros((len(indices), len(ids)), dtype=np.int64),
                "attention_mask": np.ones((len(indices), len(ids)), dtype=np.int64),
                "phoneme_mask": mask,
                "char_ids": np.array([character_id for character_id, _ in polyphones], dtype=np.int64),  # (Q,)
                "position_ids": np.array([index - start + 1 for index in indices], dtype=np.int64),  # (Q,)
            },
        )[0]  # (Q, labels)
        return [self._characters.labels[label] for label in probabilities.argmax(axis=1)]

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        try:
            return onnxruntime.InferenceSession(
                str(self.folder / MODEL), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has no common class for what a broken file raises
            raise ModelError(
                "bad_checkpoint", f"{MODEL} is no ONNX model that can be run: {error}", hint="Fetch it again."
            ) from error

    @cached_property
    def _characters(self) -> _Characters:
        pairs = _read_pairs(self.folder / "POLYPHONIC_CHARS.txt")
        labels = sorted({syllable for _, syllable in pairs})
        label_indices = {label: index for index, label in enumerate(labels)}
        polyphones: dict[str, tuple[int, list[int]]] = {
            character: (index, []) for index, character in enumerate(sorted({character for character, _ in pairs}))
        }
        for character, syllable in pairs:
            polyphones[character][1].append(label_indices[syllable])
        return _Characters(polyphones, labels, dict(_read_pairs(self.folder / "MONOPHONIC_CHARS.txt")))

    @cached_property
    def _tokens(self) -> dict[str, int]:
        """WordPiece token → id, from `vocab.txt` or `tokenizer.json`."""
        token_list = self.vocabulary / "vocab.txt"
        if token_list.is_file():
            return {token: index for index, token in enumerate(token_list.read_text(encoding="utf-8").splitlines())}
        tokenizer = json.loads((self.vocabulary / "tokenizer.json").read_text(encoding="utf-8"))
        return dict(tokenizer["model"]["vocab"])

    @cached_property
    def _converter(self) -> Any:
        if find_spec("opencc") is None:
            raise ModelError(
                "missing_part", "g2pW needs opencc, which is not installed.", hint='pip install "sovitsd[zh]"'
            )
        import opencc

        return opencc.OpenCC("s2tw")


def _read_pairs(path: Path) -> list[tuple[str, str]]:
    """Return (character, syllable) of every line."""
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return [(row[0], row[1]) for row in rows if len(row) == 2]


def _pinyin(bopomofo: str) -> str:
    """Return `zhang3` for `ㄓㄤ3`; "" for what is no syllable of Mandarin."""
    base = table("g2pw_bopomofo").get(bopomofo[:-1], "")
    return f"{base.replace('ü', 'v')}{bopomofo[-1]}" if base else ""
