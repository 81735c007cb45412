"""The training set of stage 1: read, filtered, put in order, collated (specification s1-gpt §10)."""

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
"""Slower or faster than this is a wrong transcript rather than speech."""
SMALL_SET = 100
BUCKET_SECONDS = 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GPTItem:
    """One recording."""

    name: str
    phones: list[int]
    tokens: list[int]
    bert: Path | None
    """Its (1024, N) features, where there are any."""


def read_items(folder: Path, symbols: Sequence[str], *, max_seconds: float) -> tuple[list[GPTItem], Counter[str]]:
    """The usable recordings of a training-set folder, and how many were left out, by reason."""
    texts = read_texts(folder / "2-name2text.txt")
    index = {symbol: i for i, symbol in enumerate(symbols)}
    items: list[GPTItem] = []
    left_out: Counter[str] = Counter()
    for name, tokens in read_semantic(folder / "6-name2semantic.tsv"):
        phones = texts.get(name)
        if phones is None:
            reason = "no transcript"
        elif any(phone not in index for phone in phones):
            reason = "a phoneme that this version does not know"
        else:
            reason = rejection_reason(len(phones), len(tokens), max_seconds)
        if reason:
            left_out[reason] += 1
            continue
        bert = folder / "3-bert" / f"{Path(name).name}.pt"
        items.append(GPTItem(name, [index[phone] for phone in phones], tokens, bert if bert.is_file() else None))
    return items, left_out


def read_texts(path: Path) -> dict[str, list[str]]:
    """Phonemes by recording, from lines of exactly four fields; a repeated name keeps its last one."""
    lines = (line.split("\t") for line in _lines(path))
    return {fields[0]: fields[1].split(" ") for fields in lines if len(fields) == 4}


def read_semantic(path: Path) -> Iterator[tuple[str, list[int]]]:
    """(recording, tokens) in the order of the file, whose first line is a header."""
    for number, line in enumerate(_lines(path)[1:], start=2):
        fields = line.split("\t")
        if len(fields) != 2:
            logger.warning("Line %d of %s has %d fields instead of 2; it was skipped.", number, path.name, len(fields))
            continue
        try:
            yield fields[0], [int(token) for token in fields[1].split()]
        except ValueError as error:
            raise ModelError("bad_dataset", f"Line {number} of {path.name} holds what is no token: {error}.") from error


def rejection_reason(phones: int, tokens: int, max_seconds: float) -> str:
    """Why a recording of so many phonemes and tokens is left out; empty when it stays."""
    slowest, fastest = PHONEMES_PER_SECOND
    most = max_seconds * TOKENS_PER_SECOND
    if tokens > most:
        return f"longer than {max_seconds:g} s"
    if phones > most / 2.5:
        return f"more than {most / 2.5:g} phonemes"
    if tokens == 0 or phones / (tokens / TOKENS_PER_SECOND) > fastest:
        return f"more than {fastest} phonemes a second"
    if phones / (tokens / TOKENS_PER_SECOND) < slowest:
        return f"fewer than {slowest} phonemes a second"
    return ""


def repeat_small(items: list[T]) -> list[T]:
    """The list, said over and over until a small set makes an epoch of about a hundred."""
    if not 0 < len(items) < SMALL_SET:
        return items
    return items * max(2, SMALL_SET // len(items))


def effective_batch_size(configured: int, length: int, *, preference: bool = False) -> int:
    """At most a quarter of the set a batch, and half as many where each row is read twice."""
    if preference:
        configured //= 2
    return max(1, min(configured, length // 4))


def bucket_order(tokens: Sequence[int], batch_size: int, *, epoch: int, replicas: int = 1, rank: int = 0) -> list[int]:
    """One epoch's order: recordings of similar length side by side, shuffled by the epoch's own seed."""
    chance = random.Random(epoch)
    buckets = length_buckets(tokens)
    for bucket in buckets:
        chance.shuffle(bucket)
    order = [i for bucket in buckets for i in bucket]
    size = batch_size * replicas
    pieces = [order[start : start + size] for start in range(0, len(order), size)]
    chance.shuffle(pieces)
    order = [i for piece in pieces for i in piece]
    order += order[: -len(order) % replicas]
    return order[rank::replicas]


def length_buckets(tokens: Sequence[int]) -> list[list[int]]:
    """Indices by length. The limit rises once a bucket, so recordings after a gap stand alone for a while."""
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
    """Pad to the right with zeros; features stay out where no row has any."""
    phones = [torch.tensor(item.phones) for item in items]
    tokens = [torch.tensor(item.tokens) for item in items]
    longest = max(len(p) for p in phones)
    bert = None
    if any(item.bert for item in items):
        bert = torch.zeros(len(items), BERT_WIDTH, longest)
        for row, item in zip(bert, items):
            if item.bert is not None:
                row[:, : len(item.phones)] = read_bert(item)
    return GPTBatch(
        pad_sequence(phones, batch_first=True),
        torch.tensor([len(p) for p in phones]),
        pad_sequence(tokens, batch_first=True),
        torch.tensor([len(t) for t in tokens]),
        bert,
    )


def read_bert(item: GPTItem) -> Tensor:
    """(1024, N) in float32; features of another length than the text are stale, and an error."""
    features = torch.load(item.bert, map_location="cpu", weights_only=True).detach().float()
    if features.shape != (BERT_WIDTH, len(item.phones)):
        raise ModelError(
            "bad_dataset",
            f"The BERT features of {item.name} have shape {tuple(features.shape)}; "
            f"its text has {len(item.phones)} phonemes, so ({BERT_WIDTH}, {len(item.phones)}) is needed.",
            hint="Run the text features again.",
        )
    return features


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ModelError(
            "bad_dataset", f"The training set has no {path.name}.", hint="Run the stages before."
        ) from error
    except UnicodeDecodeError as error:
        raise ModelError("bad_dataset", f"{path.name} is not UTF-8: {error}.") from error
    return text.rstrip("\n").split("\n")
