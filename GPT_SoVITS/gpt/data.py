"""The training set of stage 1: reading, filtering, ordering, collating (specification s1-gpt §10)."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.loss import GPTBatch
from GPT_SoVITS.gpt.model import BERT_WIDTH

logger = logging.getLogger(__name__)

TOKENS_PER_SECOND = 25
PHONEMES_PER_SECOND = (3, 25)
"""A slower or faster recording has a wrong transcript."""
SMALL_SET = 100
BUCKET_SECONDS = 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GPTItem:
    """One recording."""

    name: str
    phonemes: list[int]
    """(N,) ids."""
    tokens: list[int]
    """(T,) semantic tokens."""
    bert: Path | None
    """The file of its (1024, N) features, where there is one."""


def read_items(folder: Path, symbols: Sequence[str], *, max_seconds: float) -> tuple[list[GPTItem], Counter[str]]:
    """Return the usable recordings of a training-set folder, and how many are not usable, by reason.

    Raises:
        ModelError: "bad_dataset": a list is missing or not readable.
    """
    texts = read_texts(folder / "2-name2text.txt")
    ids = {symbol: i for i, symbol in enumerate(symbols)}
    items: list[GPTItem] = []
    left_out: Counter[str] = Counter()
    for name, tokens in read_semantic(folder / "6-name2semantic.tsv"):
        phonemes = texts.get(name)
        if phonemes is None:
            left_out["no transcript"] += 1
        elif any(phoneme not in ids for phoneme in phonemes):
            left_out["a phoneme that this version does not know"] += 1
        elif reason := rejection_reason(len(phonemes), len(tokens), max_seconds):
            left_out[reason] += 1
        else:
            bert = folder / "3-bert" / f"{Path(name).name}.pt"
            row = [ids[phoneme] for phoneme in phonemes]
            items.append(GPTItem(name, row, tokens, bert if bert.is_file() else None))
    return items, left_out


def read_texts(path: Path) -> dict[str, list[str]]:
    """Return the phonemes of each recording, from lines of exactly four fields; a repeated name keeps the last."""
    lines = (line.split("\t") for line in _lines(path))
    return {fields[0]: fields[1].split(" ") for fields in lines if len(fields) == 4}


def read_semantic(path: Path) -> Iterator[tuple[str, list[int]]]:
    """Yield (recording, tokens) in the order of the file, whose first line is a header."""
    for number, line in enumerate(_lines(path)[1:], start=2):
        fields = line.split("\t")
        if len(fields) != 2:
            logger.warning("Line %d of %s has %d fields instead of 2; it was skipped.", number, path.name, len(fields))
            continue
        try:
            yield fields[0], [int(token) for token in fields[1].split()]
        except ValueError as error:
            raise ModelError("bad_dataset", f"Line {number} of {path.name} holds what is no token: {error}.") from error


def rejection_reason(phonemes: int, tokens: int, max_seconds: float) -> str:
    """Return why a recording of so many phonemes and tokens is not usable; empty when it is."""
    slowest, fastest = PHONEMES_PER_SECOND
    most = max_seconds * TOKENS_PER_SECOND
    if tokens > most:
        return f"longer than {max_seconds:g} s"
    if phonemes > most / 2.5:
        return f"more than {most / 2.5:g} phonemes"
    if tokens == 0 or phonemes / (tokens / TOKENS_PER_SECOND) > fastest:
        return f"more than {fastest} phonemes a second"
    if phonemes / (tokens / TOKENS_PER_SECOND) < slowest:
        return f"fewer than {slowest} phonemes a second"
    return ""


def repeat_small(items: list[T]) -> list[T]:
    """Repeat the list until a small set makes an epoch of about a hundred."""
    if not 0 < len(items) < SMALL_SET:
        return items
    return items * max(2, SMALL_SET // len(items))


def effective_batch_size(configured: int, length: int, *, preference: bool = False) -> int:
    """Return the batch size: at most a quarter of the set, and half as many rows where each is read twice."""
    if preference:
        configured //= 2
    return max(1, min(configured, length // 4))


def bucket_order(tokens: Sequence[int], batch_size: int, *, epoch: int, replicas: int = 1, rank: int = 0) -> list[int]:
    """Return one epoch's order: recordings of similar length side by side, shuffled with the epoch as the seed."""
    generator = random.Random(epoch)
    buckets = length_buckets(tokens)
    for bucket in buckets:
        generator.shuffle(bucket)
    order = [i for bucket in buckets for i in bucket]
    size = batch_size * replicas
    pieces = [order[start : start + size] for start in range(0, len(order), size)]
    generator.shuffle(pieces)
    order = [i for piece in pieces for i in piece]
    order += order[: -len(order) % replicas]
    return order[rank::replicas]


def length_buckets(tokens: Sequence[int]) -> list[list[int]]:
    """Group indices by length. The limit rises once per bucket, so recordings after a gap stand alone for a while."""
    buckets: list[list[int]] = [[]]
    limit = BUCKET_SECONDS
    for i in sorted(range(len(tokens)), key=tokens.__getitem__):
        if tokens[i] / TOKENS_PER_SECOND < limit:
            buckets[-1].append(i)
            continue
        buckets.append([i])
        limit += BUCKET_SECONDS
    return [bucket for bucket in buckets if bucket]


def collate(items: Sequence[GPTItem]) -> GPTBatch:
    """Pad items on the right with zeros; there are no features where no row has any."""
    phonemes = [torch.tensor(item.phonemes) for item in items]
    tokens = [torch.tensor(item.tokens) for item in items]
    longest = max(len(p) for p in phonemes)
    bert = None
    if any(item.bert for item in items):
        bert = torch.zeros(len(items), BERT_WIDTH, longest)
        for row, item in zip(bert, items):
            if item.bert is not None:
                row[:, : len(item.phonemes)] = read_bert(item.bert, item)
    return GPTBatch(
        pad_sequence(phonemes, batch_first=True),
        torch.tensor([len(p) for p in phonemes]),
        pad_sequence(tokens, batch_first=True),
        torch.tensor([len(t) for t in tokens]),
        bert,
    )


def read_bert(path: Path, item: GPTItem) -> Tensor:
    """Read the features of an item, (1024, N) in float32.

    Raises:
        ModelError: "bad_dataset": they are of another length than the text, so stale.
    """
    features: Tensor = torch.load(path, map_location="cpu", weights_only=True).detach().float()
    if features.shape != (BERT_WIDTH, len(item.phonemes)):
        raise ModelError(
            "bad_dataset",
            f"The BERT features of {item.name} have shape {tuple(features.shape)}; "
            f"its text has {len(item.phonemes)} phonemes, so ({BERT_WIDTH}, {len(item.phonemes)}) is needed.",
            hint="Run the text features again.",
        )
    return features


def _lines(path: Path) -> list[str]:
    """Read a list of the training set. Raises ModelError("bad_dataset")."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ModelError(
            "bad_dataset", f"The training set has no {path.name}.", hint="Run the stages before."
        ) from error
    except UnicodeDecodeError as error:
        raise ModelError("bad_dataset", f"{path.name} is not UTF-8: {error}.") from error
    return text.rstrip("\n").split("\n")
