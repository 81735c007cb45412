"""The training-set folder (specification s1-gpt §12): its lists and features, each file written whole or not at all."""

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

from GPT_SoVITS.errors import ModelError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

NAME2TEXT = "2-name2text.txt"
BERT = "3-bert"
CONTENT = "4-cnhubert"
SOUND = "5-wav32k"
SEMANTIC = "6-name2semantic.tsv"
SPEAKER = "7-sv_cn"
SEMANTIC_HEADER = "item_name\tsemantic_audio"
_LANGUAGES = {"jp": "ja"}


@dataclass(frozen=True, slots=True)
class Annotation:
    """One line of a `.list`: what is said in a recording, by whom."""

    path: str
    """File name, or a path to it."""
    speaker: str
    language: str
    """Lower case: `en`, `zh`, `ja` …"""
    text: str


@dataclass(frozen=True, slots=True)
class NameToText:
    """One line of `2-name2text.txt`."""

    name: str
    """File name of the recording, with its extension."""
    phones: Sequence[str]
    word2ph: Sequence[int] | None
    """Phonemes a character, where the language has that."""
    norm_text: str


def write_annotations(path: Path, annotations: Iterable[Annotation]) -> None:
    """Write a `.list`; a bar in a field would break its line, so it becomes a blank."""
    rows = [
        "|".join(_plain(field, "|") for field in (one.path, one.speaker, one.language.upper(), one.text))
        for one in annotations
    ]
    write_whole(path, "".join(f"{row}\n" for row in rows))


def read_annotations(path: Path) -> list[Annotation]:
    """The valid lines of a `.list`, paths tidied (§12.1); a line without four fields is left out, with a warning."""
    found = []
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split("|")
        if len(fields) != 4:
            logger.warning("Line %d of %s has %d fields instead of 4; it is left out.", number, path.name, len(fields))
            continue
        recording, speaker, language, text = fields
        found.append(Annotation(_tidy(recording), speaker, _language(language), text.strip()))
    return found


def write_name2text(folder: Path, entries: Iterable[NameToText]) -> None:
    """Write `2-name2text.txt`."""
    rows = []
    for entry in entries:
        word2ph = "None" if entry.word2ph is None else str([int(count) for count in entry.word2ph])
        rows.append("\t".join((_plain(entry.name), " ".join(entry.phones), word2ph, _plain(entry.norm_text))))
    write_whole(folder / NAME2TEXT, "".join(f"{row}\n" for row in rows))


def read_name2text(folder: Path) -> list[NameToText]:
    """The lines of `2-name2text.txt`; one that has not four fields is left out, with a warning."""
    entries = []
    for number, line in enumerate(read_lines(folder / NAME2TEXT), start=1):
        fields = line.split("\t")
        if len(fields) != 4:
            logger.warning("Line %d of %s has %d fields instead of 4; it is left out.", number, NAME2TEXT, len(fields))
            continue
        word2ph = None if fields[2] == "None" else [int(count) for count in re.findall(r"\d+", fields[2])]
        entries.append(NameToText(fields[0], fields[1].split(), word2ph, fields[3]))
    return entries


def write_semantic(folder: Path, tokens: Mapping[str, Sequence[int]]) -> None:
    """Write `6-name2semantic.tsv`."""
    rows = [f"{_plain(name)}\t{' '.join(str(int(token)) for token in ids)}" for name, ids in tokens.items()]
    write_whole(folder / SEMANTIC, "".join(f"{row}\n" for row in (SEMANTIC_HEADER, *rows)))


def read_semantic(folder: Path) -> dict[str, list[int]]:
    """Recording → its tokens."""
    rows = (line.split("\t") for line in read_lines(folder / SEMANTIC)[1:])
    return {row[0]: [int(token) for token in row[1].split()] for row in rows if len(row) == 2}


def write_features(folder: Path, name: str, features: np.ndarray) -> None:
    """(T, C) float -> `<folder>/<name>.pt` with a tensor (1, C, T) as the original has it."""
    import torch

    write_tensor(folder, name, torch.from_numpy(np.ascontiguousarray(features.T))[None])


def write_tensor(folder: Path, name: str, tensor: torch.Tensor) -> None:
    """`<folder>/<name>.pt`, `name` with the recording's extension: a bare tensor, whole or not at all.

    The shapes are (1024, phones) in `3-bert`, (1, C, T) in `4-cnhubert`, (1, 20480) in `7-sv_cn`; any float type.
    """
    import torch

    making = folder / f".{name}.{os.getpid()}.making"
    try:
        with making.open("wb") as file:  # of a path, torch would write the name into the file
            # A copy: torch stores all of the memory that a part of a larger tensor lies in.
            torch.save(tensor.detach().cpu().clone(memory_format=torch.contiguous_format), file)
        os.replace(making, folder / f"{name}.pt")
    finally:
        making.unlink(missing_ok=True)


def read_tensor(path: Path) -> torch.Tensor:
    """A bare tensor in float32, without running what else a file may hold; the original's carry strides and gradients.

    Raises ModelError "bad_training_item" when it is not there or no tensor.
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
    """(recording, (1, C, T) float32) of all that `4-cnhubert` holds, by name."""
    return [(path.name.removesuffix(".pt"), read_tensor(path)) for path in sorted((folder / CONTENT).glob("*.pt"))]


def read_lines(path: Path) -> list[str]:
    """The lines that are not empty. Raises ModelError "missing_training_data" when there is no such file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ModelError("missing_training_data", f"The training set has no {path.name}.") from error
    # splitlines would also break at separators that a transcript may hold.
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]


def write_whole(path: Path, text: str) -> None:
    """Replace the file in one step, so that a reader or a crash never meets half of it."""
    making = path.with_name(f".{path.name}.{os.getpid()}.making")
    try:
        with making.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(making, path)
    finally:
        making.unlink(missing_ok=True)


def _plain(field: str, separator: str = "\t") -> str:
    """Without what ends a field or a line."""
    return re.sub(rf"[\t\r\n{re.escape(separator)}]+", " ", field)


def _tidy(path: str) -> str:
    """Slashes of the system, none at the end; no quotes, blanks or direction marks around it."""
    return path.strip(" \t\r\n\"'\u202a").replace("\\", "/").rstrip("/").replace("/", os.sep)


def _language(field: str) -> str:
    """The field in lower case; the text front end says what it cannot read."""
    lower = field.strip().lower()
    return _LANGUAGES.get(lower, lower)
