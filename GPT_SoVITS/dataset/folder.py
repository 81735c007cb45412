"""The training-set folder (docs/spec/s1-gpt.md §12): its lists and features, each file complete or absent."""

from __future__ import annotations

import logging
import os
import pickle
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.files import atomic_path, write_atomically
from GPT_SoVITS.errors import ModelError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

NAME2TEXT = "2-name2text.txt"
BERT = "3-bert"
CONTENT = "4-cnhubert"
AUDIO = "5-wav32k"
SEMANTIC = "6-name2semantic.tsv"
SPEAKER = "7-sv_cn"
SEMANTIC_HEADER = "item_name\tsemantic_audio"


@dataclass(frozen=True, slots=True)
class Annotation:
    """A line of a `.list`: what is said in a recording, and by whom."""

    path: str
    """File name, or a path to it."""
    speaker: str
    language: str
    """Lower case: `en`, `zh`, `ja` …"""
    text: str


@dataclass(frozen=True, slots=True)
class NameToText:
    """A line of `2-name2text.txt`."""

    name: str
    """File name of the recording, with its extension."""
    phones: Sequence[str]
    word2ph: Sequence[int] | None
    """Phonemes of each character of `norm_text`, where the language has that."""
    norm_text: str


def write_annotations(path: Path, annotations: Iterable[Annotation]) -> None:
    """Write a `.list`; a bar in a field would break its line, so it becomes a space."""
    rows = [
        (annotation.path, annotation.speaker, annotation.language.upper(), annotation.text)
        for annotation in annotations
    ]
    _write_lines(path, ["|".join(_one_field(field, "|") for field in row) for row in rows])


def read_annotations(path: Path) -> list[Annotation]:
    """Return the lines of a `.list`, paths tidied (§12.1); one without four fields is left out, with a warning."""
    annotations = []
    for recording, speaker, language, text in _read_rows(path, "|"):
        # Slashes of the system, none at the end; no quotes, whitespace or direction marks around it.
        tidy_path = recording.strip(" \t\r\n\"'\u202a").replace("\\", "/").rstrip("/").replace("/", os.sep)
        language = language.strip().lower()
        annotations.append(Annotation(tidy_path, speaker, "ja" if language == "jp" else language, text.strip()))
    return annotations


def write_name2text(folder: Path, entries: Iterable[NameToText]) -> None:
    """Write `2-name2text.txt`."""
    lines = []
    for entry in entries:
        word2ph = "None" if entry.word2ph is None else str([int(count) for count in entry.word2ph])
        fields = (_one_field(entry.name), " ".join(entry.phones), word2ph, _one_field(entry.norm_text))
        lines.append("\t".join(fields))
    _write_lines(folder / NAME2TEXT, lines)


def read_name2text(folder: Path) -> list[NameToText]:
    """Return the lines of `2-name2text.txt`; one that has not four fields is left out, with a warning."""
    entries = []
    for name, phones, counts, norm_text in _read_rows(folder / NAME2TEXT, "\t"):
        word2ph = None if counts == "None" else [int(count) for count in re.findall(r"\d+", counts)]
        entries.append(NameToText(name, phones.split(), word2ph, norm_text))
    return entries


def write_semantic(folder: Path, tokens: Mapping[str, Sequence[int]]) -> None:
    """Write `6-name2semantic.tsv`: the tokens of each recording."""
    lines = [f"{_one_field(name)}\t{' '.join(str(int(token)) for token in ids)}" for name, ids in tokens.items()]
    _write_lines(folder / SEMANTIC, [SEMANTIC_HEADER, *lines])


def read_semantic(folder: Path) -> dict[str, list[int]]:
    """Return recording → its tokens."""
    rows = (line.split("\t") for line in read_lines(folder / SEMANTIC)[1:])
    return {row[0]: [int(token) for token in row[1].split()] for row in rows if len(row) == 2}


def write_features(folder: Path, name: str, features: np.ndarray) -> None:
    """Write (T, C) float to `<folder>/<name>.pt` as a tensor (1, C, T), as upstream has it."""
    import torch

    write_tensor(folder, name, torch.from_numpy(np.ascontiguousarray(features.T))[None])


def write_tensor(folder: Path, name: str, tensor: torch.Tensor) -> None:
    """Write a bare tensor to `<folder>/<name>.pt`, `name` with the recording's extension.

    The shapes are (1024, phonemes) in `3-bert`, (1, C, T) in `4-cnhubert`, (1, 20480) in `7-sv_cn`; any float type.
    """
    import torch

    with atomic_path(folder / f"{name}.pt") as temporary, temporary.open("wb") as file:
        # To a file: of a path, torch would write the name into the content. A copy: torch stores all of the memory that
        # a part of a larger tensor lies in.
        torch.save(tensor.detach().cpu().clone(memory_format=torch.contiguous_format), file)


def read_tensor(path: Path) -> torch.Tensor:
    """Return a bare tensor as contiguous float32, whatever strides and gradients upstream's has.

    Nothing else that a file may hold is executed. Raises ModelError `bad_training_item` when it is absent or no tensor.
    """
    import torch

    try:
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError("bad_training_item", f"{path.parent.name}/{path.name} cannot be read: {reason}.") from error
    if not isinstance(tensor, torch.Tensor):
        raise ModelError("bad_training_item", f"{path.parent.name}/{path.name} holds no tensor.")
    return tensor.detach().float().contiguous()


def read_features(folder: Path) -> list[tuple[str, torch.Tensor]]:
    """Return (recording, (1, C, T) float32) of all that `4-cnhubert` holds, by name."""
    return [(path.name.removesuffix(".pt"), read_tensor(path)) for path in sorted((folder / CONTENT).glob("*.pt"))]


def read_lines(path: Path) -> list[str]:
    """Return the lines that are not empty; raise ModelError `missing_training_data` when there is no such file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ModelError("missing_training_data", f"The training set has no {path.name}.") from error
    # splitlines would also break at separators that a transcript may hold.
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]


def _read_rows(path: Path, separator: str) -> list[list[str]]:
    """Return the lines of four fields; others are left out, with a warning."""
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split(separator)
        if len(fields) == 4:
            rows.append(fields)
        else:
            logger.warning("Line %d of %s has %d fields instead of 4; it is left out.", number, path.name, len(fields))
    return rows


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode(), durable=True)


def _one_field(text: str, separator: str = "\t") -> str:
    """Return the text with a space for what would end a field or a line."""
    return re.sub(rf"[\t\r\n{re.escape(separator)}]+", " ", text)
