"""Several processes that train one model, as torchrun starts them: gloo on processors, nccl on GPUs.

    torchrun --nproc-per-node 2 -m GPT_SoVITS.sovits.train RUN.json

Every process holds the whole model and sees its share of the batches. Gradients are joined once an update, after
the backward passes: so a discriminator may be read twice in a step, a parameter may stay without a gradient and
layers may be computed again, which torch's DistributedDataParallel forbids or needs to be told.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from GPT_SoVITS.errors import ModelError

BUCKET = 1 << 24
"""Numbers that are sent at a time, so that the copy beside the gradients stays small."""


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The processes of one training, seen from one of them; alone, every method does nothing and costs nothing."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether any process says yes; a signal does not reach all of them before the same step."""
        return bool(self.sum(torch.tensor([float(flag)]))[0]) if self.size > 1 else flag

    def sum(self, values: Tensor) -> Tensor:
        """A small tensor summed over the processes."""
        if self.size == 1:
            return values
        sent = values.to(self.device, copy=True)
        dist.all_reduce(sent)
        return sent.to(values.device)

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """The same numbers averaged over the processes, which must name them in the same order."""
        if self.size == 1:
            return values
        means = self.sum(torch.tensor(list(values.values()), dtype=torch.float64)) / self.size
        return dict(zip(values, means.tolist()))

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def share(self, model: nn.Module) -> None:
        """Give every process the first one's weights and buffers."""
        if self.size > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)

    def join_gradients(self, parameters: Iterable[Tensor], *, mean: bool) -> None:
        """Replace every gradient by the sum, or the mean, over the processes; one that is missing counts as zero.

        A sum suits losses that are sums: two processes then make the gradients of one that has both batches.
        A parameter that no process has a gradient for stays without.
        """
        if self.size == 1:
            return
        parameters = [parameter for parameter in parameters if parameter.requires_grad]
        present = self.sum(torch.tensor([float(p.grad is not None) for p in parameters])).tolist()
        taught = [parameter for parameter, count in zip(parameters, present) if count]
        for bucket in _buckets(taught):
            flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in bucket])
            dist.all_reduce(flat)
            if mean:
                flat /= self.size
            for parameter, part in zip(bucket, flat.split([p.numel() for p in bucket])):
                parameter.grad = part.view_as(parameter).clone()

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Let the first process through before the others."""
        if not self.main:
            dist.barrier()
        yield
        if self.main and self.size > 1:
            dist.barrier()


def init_process_group(device: str) -> ProcessGroup:
    """This process's group, told by torchrun's environment. Raises ModelError("no_device")."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("no_device", "A CUDA device was asked for, and there is none.", permanent=False)
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    place = torch.device(device)
    if device == "cuda":
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
        torch.set_float32_matmul_precision("high")  # TF32, as the reference allows it
    if size > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device == "cuda" else "gloo", rank=rank, world_size=size)
    return ProcessGroup(place, rank, size)


def destroy_process_group() -> None:
    """Part from the other processes, if there are any."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _buckets(parameters: list[Tensor]) -> Iterator[list[Tensor]]:
    """Parameters of one type, about BUCKET numbers together."""
    bucket: list[Tensor] = []
    count = 0
    for parameter in parameters:
        if bucket and (count + parameter.numel() > BUCKET or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, count = [], 0
        bucket.append(parameter)
        count += parameter.numel()
    if bucket:
        yield bucket
