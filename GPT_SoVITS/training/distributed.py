"""Several processes that train one model, as `ranks` or torchrun starts them: gloo on CPUs, nccl on GPUs.

Every process holds the whole model and sees its share of the batches. Gradients are reduced once per update, bucket by
bucket, while the last backward pass computes those of earlier layers, as torch's DistributedDataParallel does. That
wraps a forward pass, of which an update here may have several or none: a discriminator runs twice, nano's losses call
parts of the network, and the gradients of the GPT are sums.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import Store, TCPStore

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.training import rank_environment as names

HOST = "127.0.0.1"
"""Where the ranks of one host meet."""

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

    def any(self, *flags: bool) -> list[bool]:
        """Return whether each flag is set in any process; a signal reaches them before different steps."""
        return [count > 0 for count in self.sum(torch.tensor([float(flag) for flag in flags])).tolist()]

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
    size, rank = names.number_of(names.WORLD_SIZE, 1), names.number_of(names.RANK, 0)
    local_device = torch.device(device)
    if device == "cuda":
        local_device = torch.device("cuda", names.number_of(names.LOCAL_RANK, 0))
        torch.cuda.set_device(local_device)
        torch.set_float32_matmul_precision("high")  # TF32, which upstream allows, too
    if size > 1 and not dist.is_initialized():
        backend = "nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, store=_store(rank, size), rank=rank, world_size=size)
    return ProcessGroup(local_device, rank, size)


def destroy_process_group() -> None:
    """Leave the process group, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _store(rank: int, size: int) -> Store | None:
    """Return what the ranks meet at, over the port that their parent opened; None where torchrun names another."""
    if names.LISTENER not in os.environ:
        return None
    port = names.number_of(names.PORT, 0)
    if rank == 0:
        listener = names.number_of(names.LISTENER, 0)
        return TCPStore(HOST, port, size, is_master=True, master_listen_fd=listener)
    return TCPStore(HOST, port, size, is_master=False)
