"""The recordings that a SoVITS training learns from, and their batches; shared by all versions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.sovits.data import BucketSampler
from GPT_SoVITS.sovits.training_config import RecordingTrainingConfig
from GPT_SoVITS.sovits.training_set import Selection, TrainingSetEntry
from GPT_SoVITS.training.distributed import ProcessGroup
from GPT_SoVITS.training.prefetch import ItemLoader, Prefetcher, worker_count

logger = logging.getLogger(__name__)

MIN_RECORDINGS = 2

StepEntries = list[list[TrainingSetEntry]]
"""The recordings of one update, batch by batch."""
Item = TypeVar("Item")


class RecordingBatches(Generic[Item]):
    """The usable recordings of a training set, and the batches of each epoch."""

    def __init__(
        self,
        selection: Selection,
        load: Callable[[TrainingSetEntry], Item],
        length_edges: Sequence[int],
        config: RecordingTrainingConfig,
        group: ProcessGroup,
    ) -> None:
        """Load every recording once, to leave out those that cannot be loaded, and log why.

        Args:
            selection: what the training set offers.
            load: reads a recording; raises ModelError for one that cannot be used.
            length_edges: edges of the length buckets in frames of 20 ms.
            config: the batch size and `accumulate`.
            group: the processes that share the batches.

        Raises:
            ModelError: "dataset_too_small": fewer than MIN_RECORDINGS recordings are usable.
        """
        self.left_out = dict(selection.left_out)
        """Name of a recording -> why it is not used."""
        self.recordings: list[TrainingSetEntry] = []
        """The usable ones, once each."""
        shortest, longest = length_edges[0], length_edges[-1]
        for entry in selection.entries:
            if not shortest < entry.frames <= longest:
                self.left_out[entry.name] = f"it has {entry.frames} frames of 20 ms; {shortest + 1} to {longest} work"
                continue
            try:
                load(entry)
            except ModelError as error:
                self.left_out[entry.name] = error.message
            else:
                self.recordings.append(entry)
        for name, reason in self.left_out.items():
            logger.warning("Left out %s: %s.", name, reason)
        if len(self.recordings) < MIN_RECORDINGS:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in list(self.left_out.items())[:5])
            raise ModelError(
                "dataset_too_small",
                f"{len(self.recordings)} usable recordings were found, and at least {MIN_RECORDINGS} are needed."
                + (f" Left out: {reasons}." if reasons else ""),
                hint="Give a longer recording, or check its transcripts.",
            )
        self.entries = self.recordings * selection.repeats
        """The recordings of an epoch: a short list is repeated."""
        self.accumulate = config.accumulate or 1
        self.sampler = BucketSampler(
            [entry.frames for entry in self.entries],
            config.batch_size,
            length_edges,
            replicas=group.size,
            rank=group.rank,
        )
        load_items = ItemLoader(load, worker_count(group.device))
        self._prefetch = Prefetcher[StepEntries, list[list[Item]]](lambda work: [load_items(batch) for batch in work])

    @property
    def steps_per_epoch(self) -> int:
        """Updates of an epoch."""
        return -(-len(self.sampler) // self.accumulate)

    def steps(self, epoch: int) -> Sequence[StepEntries]:
        """Return the recordings of each update of an epoch, which counts from 0."""
        batches = [[self.entries[i] for i in batch] for batch in self.sampler.epoch(epoch + 1)]
        return [batches[start : start + self.accumulate] for start in range(0, len(batches), self.accumulate)]

    def load(self, work: StepEntries, following: StepEntries | None) -> list[list[Item]]:
        """Load the items of an update, batch by batch, and begin to load those of the next one."""
        return self._prefetch(work, following)

    def fingerprint_content(self) -> list[list[object]]:
        """Return what distinguishes the recordings, for the fingerprint of a run."""
        return [[entry.name, entry.phonemes, entry.frames, entry.codes] for entry in self.recordings]
