"""The running batches of the first stage: one for each GPT that somebody speaks with."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from GPT_SoVITS.engine.running_utterance import RunningUtterance
from GPT_SoVITS.gpt.continuous_batching import ContinuousBatch
from GPT_SoVITS.gpt.graphs.registry import graph_decoder
from GPT_SoVITS.pipeline import Pipeline


class RowTokens(NamedTuple):
    """The tokens of an utterance so far."""

    utterance: RunningUtterance
    tokens: Sequence[int]
    finished: bool


def batch_key(pipeline: Pipeline) -> Hashable:
    """Return what the pipelines that can share a batch have in common."""
    return id(pipeline.gpt), pipeline.precision


class TokenBatches:
    """Steps batches and hands the utterances their tokens."""

    def __init__(self, *, cuda_graphs: bool = False) -> None:
        """Begin without batches; on a GPU, those of a GPT whose steps can be captured use graphs, if they may."""
        self._cuda_graphs = cuda_graphs
        self._batches: dict[Hashable, ContinuousBatch] = {}
        self._rows: dict[Hashable, dict[int, RunningUtterance]] = {}

    def join(self, utterance: RunningUtterance) -> None:
        """Add an utterance to the batch of its GPT; it is read in the next step. Raises ModelError."""
        key, pipeline = batch_key(utterance.pipeline), utterance.pipeline
        batch = self._batches.get(key)
        if batch is None:
            graphs = graph_decoder(pipeline.gpt, pipeline.precision) if self._cuda_graphs else None
            batch = self._batches[key] = ContinuousBatch(pipeline.gpt, graphs=graphs, precision=pipeline.precision)
        row = batch.add_request(*utterance.attempts.row())
        self._rows.setdefault(key, {})[row] = utterance
        utterance.scheduled.in_batch = True

    def step(self, key: Hashable) -> list[RowTokens]:
        """Draw one more token of every row of a batch, or several, and return the tokens so far."""
        batch, rows = self._batches[key], self._rows[key]
        finished = batch.step()
        updates = [RowTokens(rows.pop(row), tokens, True) for row, tokens in finished.items()]
        updates += [RowTokens(rows[row], tokens, False) for row, tokens in batch.known_tokens().items()]
        self._drop_if_empty(key)
        return updates

    def leave(self, utterance: RunningUtterance) -> None:
        """Remove an utterance that may be in a batch."""
        key = batch_key(utterance.pipeline)
        for row, other in list(self._rows.get(key, {}).items()):
            if other is utterance:
                del self._rows[key][row]
                self._batches[key].remove_request(row)
                utterance.scheduled.in_batch = False
                self._drop_if_empty(key)

    def members(self, key: Hashable) -> list[RunningUtterance]:
        """Return the utterances of a batch."""
        return list(self._rows.get(key, {}).values())

    def drop(self, key: Hashable) -> None:
        """Drop a batch that failed."""
        self._batches.pop(key, None)
        for utterance in self._rows.pop(key, {}).values():
            utterance.scheduled.in_batch = False

    def clear(self) -> list[RunningUtterance]:
        """Drop all batches, with their memory, and return the utterances that were in them."""
        utterances = [utterance for rows in self._rows.values() for utterance in rows.values()]
        for utterance in utterances:
            utterance.scheduled.in_batch = False
        self._batches.clear()
        self._rows.clear()
        return utterances

    def _drop_if_empty(self, key: Hashable) -> None:
        if not self._rows[key]:
            del self._rows[key], self._batches[key]
