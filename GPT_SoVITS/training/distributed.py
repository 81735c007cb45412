"""Several processes that train one model, as torchrun starts them: gloo on CPUs, nccl on GPUs.

    torchrun --nproc-per-node 2 -m GPT_SoVITS.train RUN.json

Every process holds the whole model and sees its share of the batches. Gradients are reduced once per update, after
the backward passes: so a discriminator may run twice in a step, a parameter may have no gradient and layers may be
recomputed, which torch's DistributedDataParallel forbids or must be configured for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from GPT_SoVITS.errors import ModelError

BUCKET_NUMEL = 1 << 24
"""Numbers that are sent at a time, so that the copy beside the gradients stays small."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The processes of one training, seen from one of them; a lone process sends nothing."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process; a signal reaches them before different steps."""
        return bool(self.sum(torch.tensor([float(flag)]))[0]) if self.size > 1 else flag

    def sum(self, values: Tensor) -> Tensor:
        """Sum a small tensor over the processes."""
        if self.size == 1:
            return values
        total = values.to(self.device, copy=True)
        dist.all_reduce(total)
        return total.to(values.device)

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Average named numbers over the processes, which must name them in the same order."""
        if self.size == 1:
            return values
        means = self.sum(torch.tensor(list(values.values()), dtype=torch.float64)) / self.size
        return dict(zip(values, means.tolist()))

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes, by rank."""
        if self.size == 1:
            return [value]
        values = [value] * self.size
        dist.all_gather_object(values, value)
        return values

    def broadcast_weights(self, model: nn.Module) -> None:
        """Copy the weights and buffers of the first process to all others."""
        if self.size > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)

    def reduce_gradients(self, parameters: Iterable[Tensor], *, mean: bool) -> None:
        """Replace every gradient by its sum, or mean, over the processes; a missing one counts as zero.

        A sum suits losses that are sums: two processes then produce the gradients of one that has both batches.
        A parameter without a gradient in any process stays without.
        """
        if self.size == 1:
            return
        parameters = [parameter for parameter in parameters if parameter.requires_grad]
        counts = self.sum(torch.tensor([float(p.grad is not None) for p in parameters])).tolist()
        for bucket in _buckets([parameter for parameter, count in zip(parameters, counts) if count]):
            flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in bucket])
            dist.all_reduce(flat)
            if mean:
                flat /= self.size
            for parameter, part in zip(bucket, flat.split_with_sizes([p.numel() for p in bucket])):
                parameter.grad = part.view_as(parameter).clone()

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in the first process before it runs in the others."""
        if not self.main:
            dist.barrier()
        yield
        if self.main and self.size > 1:
            dist.barrier()


def init_process_group(device: str) -> ProcessGroup:
    """Join the process group that torchrun's environment variables describe.

    Raises:
        ModelError: "no_device": CUDA was requested and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("no_device", "A CUDA device was asked for, and there is none.", permanent=False)
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    local_device = torch.device(device)
    if device == "cuda":
        local_device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(local_device)
        torch.set_float32_matmul_precision("high")  # TF32, which upstream allows, too
    if size > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device == "cuda" else "gloo", rank=rank, world_size=size)
    return ProcessGroup(local_device, rank, size)


def destroy_process_group() -> None:
    """Leave the process group, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _buckets(parameters: list[Tensor]) -> Iterator[list[Tensor]]:
    """Yield runs of parameters of one dtype with about BUCKET_NUMEL numbers together."""
    bucket: list[Tensor] = []
    count = 0
    for parameter in parameters:
        if bucket and (count + parameter.numel() > BUCKET_NUMEL or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, count = [], 0
        bucket.append(parameter)
        count += parameter.numel()
    if bucket:
        yield bucket
