"""Runs work as CUDA graphs, captured at its first run and replayed from then on; elsewhere operation by operation.

What a capture may not do, and how the steps of a GPT (`gpt/graphs/`) and the passes of SoVITS (`sovits/graphs/`) keep
to it:

- Nothing is read by the host and no operation has a size that a value decides: `item`, `nonzero`, boolean indices and
  slices by a position would wait for the device, which a capture forbids. Rows that have ended stay in the batch,
  positions are indices of `index_copy_`, `gather` and `scatter_`, and what is shorter than its bucket is masked.
- The host decides nothing between two operations. What differs between runs is either a value in static memory, or part
  of the bucket, of which each has a graph of its own.
- A graph has the addresses that it saw, and is not freed while it runs. All that outlives a run (buffers, static
  weights) is allocated before any capture, outside of the graphs' pool, changed in place, and kept as long as the
  graphs are. When a GPT's keys and values need more memory, all graphs are dropped before one reads freed memory.
- What a run allocates comes from one pool that all graphs share. That is safe because no value in it outlives a run:
  results are copied to static memory at its end, and runs follow one another on one stream.
- Random numbers are functions of a seed and a counter in static memory. Torch's generators are not used: a graph would
  repeat their numbers.
- Before a capture the same operations run on the capturing stream once, so that libraries are initialized, kernels
  loaded, and cuBLAS has its workspace for this stream, which it keeps. That run is the real one, for its results are
  what the first replay is compared with.
- Capturing is for one thread ("thread_local"): others load voices meanwhile, which allocates memory and copies.
  Python's garbage collector is off during a capture, since it could free another graph.
- A capture leaves the buffers as they were: nothing runs. So it may happen between two replays while rows are there.
- Results are copied behind the replay: tokens to pinned memory with an event, waves and latents on the device. The next
  replay overwrites them only after that copy, since it is on the same stream.
"""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Hashable, Sequence
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from GPT_SoVITS.errors import is_out_of_memory

logger = logging.getLogger(__name__)

Bucket = TypeVar("Bucket", bound=Hashable)
BucketOf = TypeVar("BucketOf", bound=Hashable, covariant=True)

TOLERANCE = 0.02
"""Of floating-point numbers: libraries may sum in another order in a capture. Whole numbers must be the same."""


class StaticBuffers(Protocol):
    """The memory that work changes."""

    def snapshot(self) -> list[Tensor]:
        """Copy what a run changes and a repeated run would not write again."""

    def restore(self, snapshot: Sequence[Tensor]) -> None:
        """Write a snapshot back."""


class StaticWork(Protocol[BucketOf]):
    """Operations on memory whose addresses never change."""

    @property
    def bucket(self) -> BucketOf:
        """The sizes that it computes; each has a graph of its own."""

    @property
    def buffers(self) -> StaticBuffers:
        """What it changes."""

    def run(self) -> None:
        """Do the work, operation by operation."""


def warn_of_failure(error: Exception, work: str) -> None:
    """Say in one line why some work is done without graphs."""
    reason = " ".join(str(error).split()) or type(error).__name__
    logger.warning("CUDA graphs cannot be used here, so %s without: %s", work, reason)


class Replays(Generic[Bucket]):
    """The graphs that share a pool of memory."""

    def __init__(self, device: torch.device, work: str) -> None:
        """Begin without graphs; nothing is captured on a device that is no GPU.

        Args:
            device: of the memory.
            work: what is done without graphs once capturing has failed, for the warning.
        """
        self.captures = device.type == "cuda" and torch.cuda.is_available()
        """Whether work is captured; no longer once that has failed."""
        self.has_failed = False
        self.lacked_memory = False
        """Whether it has failed for want of memory alone, of which there may be enough later."""
        self._device, self._work = device, work
        self._graphs: dict[Bucket, torch.cuda.CUDAGraph] = {}
        if self.captures:
            self._stream = torch.cuda.Stream(device)
            self._pool = torch.cuda.graph_pool_handle()

    def __contains__(self, bucket: Bucket) -> bool:
        return bucket in self._graphs

    @property
    def pool_bytes(self) -> int:
        """What the pool takes of the device's memory; more than a graph takes, since all use it in turn."""
        if not self._graphs:
            return 0
        segments = torch.cuda.memory_snapshot(self._pool, include_traces=False)
        return sum(segment["total_size"] for segment in segments)

    def clear(self) -> None:
        """Forget all graphs, once none of them runs any longer, with the memory of their pool."""
        if not self._graphs:
            return
        torch.cuda.synchronize(self._device)
        self._graphs.clear()
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, work: StaticWork[Bucket]) -> None:
        """Do some work; the first time, capture it, too, where that is possible."""
        graph = self._graphs.get(work.bucket)
        if graph is not None:
            graph.replay()
        elif self.captures:
            self._run_and_capture(work)
        else:
            work.run()

    def fail(self, error: Exception) -> None:
        """Capture no more, and say why, once."""
        self.captures = False
        self.clear()
        if self.has_failed:
            return
        self.has_failed, self.lacked_memory = True, is_out_of_memory(error)
        warn_of_failure(error, self._work)

    def _run_and_capture(self, work: StaticWork[Bucket]) -> None:
        buffers = work.buffers
        before = buffers.snapshot()
        stream = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(stream)
        with torch.cuda.stream(self._stream):
            work.run()
        stream.wait_stream(self._stream)
        after = buffers.snapshot()
        try:
            graph = self._capture(work)
            buffers.restore(before)
            graph.replay()
            replayed = buffers.snapshot()
            if not all(_is_same(a, b) for a, b in zip(replayed, after, strict=True)):
                raise RuntimeError("a captured graph gives other results than its operations one by one")
        except Exception as error:
            buffers.restore(after)
            self.fail(error)
            return
        self._graphs[work.bucket] = graph

    def _capture(self, work: StaticWork[Bucket]) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(self._device)
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            with torch.cuda.stream(self._stream):
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                try:
                    work.run()
                except BaseException:
                    with contextlib.suppress(RuntimeError):
                        graph.capture_end()  # the stream would capture for ever
                    raise
                graph.capture_end()
        finally:
            if was_enabled:
                gc.enable()
        return graph


def _is_same(a: Tensor, b: Tensor) -> bool:
    if not a.is_floating_point():
        return torch.equal(a, b)
    return torch.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
