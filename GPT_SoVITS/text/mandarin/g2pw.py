"""g2pW: readings of Mandarin characters by an ONNX model, where its folder is there (text-frontend §6.4)."""

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
from GPT_SoVITS.text.mandarin.pinyin import Reader, in_context

MODEL = "g2pW.onnx"
CLASSIFIER, SEPARATOR, UNKNOWN = "[CLS]", "[SEP]", "[UNK]"


def g2pw_reader(models: Path, *, threads: int = 1) -> Reader | None:
    """The reader of the official weights below `models`; None where they, or the characters of RoBERTa, are not."""
    try:
        return G2PW(find_part(models, "g2pw"), find_part(models, "roberta"), threads=threads)
    except ModelError as error:
        if error.code == "missing_part":
            return None
        raise


class _Characters(NamedTuple):
    """What the model's folder says of characters; readings are Bopomofo with a digit for the tone."""

    polyphones: dict[str, tuple[int, list[int]]]
    """Character → its number for the model, and the labels that it can have."""
    labels: list[str]
    single: dict[str, str]
    """Character → its only reading."""


class G2PW:
    """A `Reader`: one stretch of Mandarin → one syllable a character. The model is loaded on first use."""

    def __init__(self, folder: Path, vocabulary: Path, *, threads: int = 1) -> None:
        """`folder` holds the model and its lists of characters, `vocabulary` a WordPiece vocabulary of RoBERTa."""
        self.folder = folder
        self.vocabulary = vocabulary
        self.threads = threads
        self._read = lru_cache(maxsize=4096)(self._read_stretch)

    def __call__(self, text: str) -> list[str]:
        return list(self._read(text))

    def _read_stretch(self, text: str) -> tuple[str, ...]:
        """By the model where a character has several readings, else by its list, else by pypinyin."""
        syllables = in_context(text)
        traditional = self._traditional(text)
        rules = table("g2pw_char_rules")
        asked = []
        for index, character in enumerate(traditional):
            if character in self._characters.polyphones and character not in rules["never_ask_model"]:
                asked.append(index)
            elif character in self._characters.single and character not in rules["never_use_single_reading_list"]:
                syllables[index] = _pinyin(self._characters.single[character]) or syllables[index]
        if asked:
            for index, label in zip(asked, self._predict(traditional, asked)):
                syllables[index] = _pinyin(label) or syllables[index]
        return tuple(syllables)

    def _traditional(self, text: str) -> str:
        """In the characters of Taiwan, as many as there were."""
        converted = self._converter.convert(text)
        return converted if len(converted) == len(text) else "".join(map(self._one_traditional, text))

    def _one_traditional(self, character: str) -> str:
        converted = self._converter.convert(character)
        return converted if len(converted) == 1 else character

    def _predict(self, text: str, asked: list[int]) -> list[str]:
        """The label of each character that is asked about; the model sees a little text around them."""
        around = table("g2pw_char_rules")["context_characters"]
        start, end = max(0, asked[0] - around), asked[-1] + around + 1
        tokens = [CLASSIFIER, *text[start:end].lower(), SEPARATOR]
        ids = [self._tokens.get(token, self._tokens[UNKNOWN]) for token in tokens]  # (L,)
        polyphones = [self._characters.polyphones[text[index]] for index in asked]
        mask = np.zeros((len(asked), len(self._characters.labels)), dtype=np.float32)  # (Q, labels)
        for row, (_, labels) in enumerate(polyphones):
            mask[row, labels] = 1
        rows = (len(asked), 1)
        probabilities = self._session.run(
            None,
            {
                "input_ids": np.tile(np.array(ids, dtype=np.int64), rows),  # (Q, L)
                "token_type_ids": np.zeros((len(asked), len(ids)), dtype=np.int64),
                "attention_mask": np.ones((len(asked), len(ids)), dtype=np.int64),
                "phoneme_mask": mask,
                "char_ids": np.array([number for number, _ in polyphones], dtype=np.int64),  # (Q,)
                "position_ids": np.array([index - start + 1 for index in asked], dtype=np.int64),  # (Q,)
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
        pairs = _pairs(self.folder / "POLYPHONIC_CHARS.txt")
        labels = sorted({reading for _, reading in pairs})
        place = {label: index for index, label in enumerate(labels)}
        numbers = {character: number for number, character in enumerate(sorted({one for one, _ in pairs}))}
        polyphones: dict[str, tuple[int, list[int]]] = {one: (number, []) for one, number in numbers.items()}
        for character, reading in pairs:
            polyphones[character][1].append(place[reading])
        return _Characters(polyphones, labels, dict(_pairs(self.folder / "MONOPHONIC_CHARS.txt")))

    @cached_property
    def _tokens(self) -> dict[str, int]:
        """WordPiece token → number, from `tokenizer.json` or `vocab.txt`."""
        described, listed = self.vocabulary / "tokenizer.json", self.vocabulary / "vocab.txt"
        if listed.is_file():
            return {token: index for index, token in enumerate(listed.read_text(encoding="utf-8").splitlines())}
        return dict(json.loads(described.read_text(encoding="utf-8"))["model"]["vocab"])

    @cached_property
    def _converter(self) -> Any:
        if find_spec("opencc") is None:
            raise ModelError(
                "missing_part", "g2pW needs opencc, which is not installed.", hint='pip install "sovitsd[zh]"'
            )
        import opencc

        return opencc.OpenCC("s2tw")


def _pairs(path: Path) -> list[tuple[str, str]]:
    """(character, reading) of every line."""
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return [(row[0], row[1]) for row in rows if len(row) == 2]


def _pinyin(reading: str) -> str:
    """`ㄓㄤ3` → `zhang3`; "" for what is no syllable of Mandarin."""
    base = table("g2pw_bopomofo").get(reading[:-1], "")
    return f"{base.replace('ü', 'v')}{reading[-1]}" if base else ""
