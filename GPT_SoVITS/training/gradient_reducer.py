"""The gradients of several processes, reduced while the backward pass still computes others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from GPT_SoVITS.training.distributed import ProcessGroup

BUCKET_NUMEL = 1 << 22
"""Numbers that are sent at a time: few enough that the first are under way early."""


class _Bucket:
    """Parameters of one dtype whose gradients are sent together."""

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters = parameters
        self.missing = len(parameters)
        """Gradients that this backward pass has yet to compute."""
        self.flat: Tensor | None = None
        self.work: dist.Work | None = None

    def send(self) -> None:
        """Begin to add up the gradients; a missing one counts as zero."""
        self.flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in self.parameters])
        self.work = dist.all_reduce(self.flat, async_op=True)

    def receive(self, divisor: int) -> list[Tensor]:
        """Wait for the sums and return them, divided by `divisor`, parameter by parameter."""
        assert self.flat is not None
        assert self.work is not None
        self.work.wait()
        flat = self.flat.div_(divisor)
        parts = flat.split_with_sizes([p.numel() for p in self.parameters])
        self.flat = self.work = None
        return [part.view_as(parameter) for part, parameter in zip(parts, self.parameters)]


class GradientReducer:
    """Sums or averages the gradients of a model over the processes; a lone process leaves them as they are.

    with reducer.overlapping():  # the last backward pass before an update
        loss.backward()
    reducer.reduce(mean=True)
    """

    def __init__(self, group: ProcessGroup, parameters: Iterable[Tensor]) -> None:
        self._group = group
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._buckets: list[_Bucket] = []
        self._bucket_of: dict[Tensor, _Bucket] = {}
        self._sent = 0
        """Buckets under way: all processes send them in the same order."""
        self._overlaps = False
        if group.size > 1:
            self._used = set(self._parameters)
            """Parameters that had a gradient in some process at the last update."""
            self._fill_buckets()
            for parameter in self._parameters:
                parameter.register_post_accumulate_grad_hook(self._count)

    @contextmanager
    def overlapping(self, last: bool = True) -> Iterator[None]:
        """Send gradients as the backward pass in this block completes them; not `last`: it does not complete any."""
        for bucket in self._buckets:
            bucket.missing = len(bucket.parameters)
        self._overlaps = last
        try:
            yield
        finally:
            self._overlaps = False

    def reduce(self, *, mean: bool) -> None:
        """Replace every gradient by its sum, or mean, over the processes; a missing one counts as zero.

        A sum suits losses that are sums: two processes then produce the gradients of one that has both batches.
        A parameter without a gradient in any process stays without.
        """
        if self._group.size == 1:
            return
        # Before anything else is sent: another process may have sent more of them in its backward pass.
        for bucket in self._buckets[self._sent :]:
            bucket.send()
        counts = self._group.sum(torch.tensor([float(p.grad is not None) for p in self._parameters])).tolist()
        used = {parameter for parameter, count in zip(self._parameters, counts) if count}
        unexpected = _buckets([parameter for parameter in self._parameters if parameter in used - self._used])
        for bucket in unexpected:
            bucket.send()
        for bucket in (*self._buckets, *unexpected):
            for parameter, gradient in zip(bucket.parameters, bucket.receive(self._group.size if mean else 1)):
                if parameter not in used:
                    continue
                if parameter.grad is None:
                    parameter.grad = gradient.clone()
                else:
                    parameter.grad.copy_(gradient)
        self._sent = 0
        if used != self._used:
            self._used = used
            self._fill_buckets()

    def _fill_buckets(self) -> None:
        """Put parameters into buckets by the order in which a backward pass reaches them, the last layers first.

        Those that had no gradient are left out: they would hold up all that come after them.
        """
        self._buckets = _buckets([p for p in reversed(self._parameters) if p in self._used])
        self._bucket_of = {parameter: bucket for bucket in self._buckets for parameter in bucket.parameters}

    def _count(self, parameter: Tensor) -> None:
        """Note that a gradient is complete, and send what is complete with it."""
        if not self._overlaps or parameter not in self._bucket_of:
            return
        self._bucket_of[parameter].missing -= 1
        while self._sent < len(self._buckets) and self._buckets[self._sent].missing == 0:
            self._buckets[self._sent].send()
            self._sent += 1


def _buckets(parameters: Iterable[Tensor]) -> list[_Bucket]:
    """Return runs of parameters of one dtype with about BUCKET_NUMEL numbers together."""
    buckets: list[list[Tensor]] = []
    count = 0
    for parameter in parameters:
        if not buckets or count + parameter.numel() > BUCKET_NUMEL or parameter.dtype != buckets[-1][0].dtype:
            buckets.append([])
            count = 0
        buckets[-1].append(parameter)
        count += parameter.numel()
    return [_Bucket(bucket) for bucket in buckets]
