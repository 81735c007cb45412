"""CUDA graphs on a CPU: operations are recorded with their tensors, and a replay repeats them on the same memory.

So it depends on nothing but the contents of memory, as a graph does: what the host decided between two operations, or
an address that changed since, would show as other results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten

from GPT_SoVITS.graphs.replays import Replays, StaticWork

FORBIDDEN = (
    *("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "unique", "_unique2", "bincount"),
    *("repeat_interleave", "lift_fresh", "lift_fresh_copy", "random_", "exponential_", "uniform_", "normal_", "rand"),
)
"""Reads by the host, results whose size values decide, values of the host, and the state of a random generator."""
VIEWS = (
    *(
        "view",
        "_unsafe_view",
        "transpose",
        "permute",
        "expand",
        "select",
        "slice",
        "unbind",
        "unsqueeze",
        "squeeze",
        "t",
    ),
    *("detach", "alias", "as_strided", "unflatten", "split", "narrow", "_reshape_alias", "numpy_T", "expand_as"),
)
"""They launch nothing."""


def name_of(operation: Any) -> str:
    return str(operation._schema.name.split("::")[1])


def storage_of(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class Recorder(TorchDispatchMode):
    """Runs operations and writes them down; raises AssertionError for one that no capture allows."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self._inside: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = name_of(func)
        assert name not in FORBIDDEN, f"{name} is impossible in a capture"
        leaves, _ = tree_flatten((args, kwargs))
        booleans = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.dtype == torch.bool]
        assert not (booleans and name in ("index", "index_put", "index_put_")), "a boolean index is read by the host"
        result = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, result))
        return result

    @property
    def launches(self) -> Counter[str]:
        """Operations that are no views."""
        names = (name_of(call[0]) for call in self.calls)
        return Counter(name for name in names if name not in VIEWS)

    def signature(self) -> list[str]:
        """Return what may not differ between two runs: operations, shapes, constants, static addresses."""
        inside: set[int] = set()
        lines = []
        for func, args, kwargs, result in self.calls:
            parts = []
            for leaf in tree_flatten((args, kwargs))[0]:
                if not isinstance(leaf, Tensor):
                    parts.append(repr(leaf))
                    continue
                place = "inside" if storage_of(leaf) in inside else f"{leaf.data_ptr():x}"
                parts.append(f"{place}{tuple(leaf.shape)}{leaf.stride()}{leaf.dtype}")
            arguments = {storage_of(leaf) for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)}
            results = {storage_of(leaf) for leaf in tree_flatten(result)[0] if isinstance(leaf, Tensor)}
            inside |= results - arguments
            lines.append(f"{func} {' '.join(parts)}")
        return lines

    def replay(self) -> None:
        """Repeat all operations on the tensors that they had."""
        for func, args, kwargs, result in self.calls:
            again = func(*args, **kwargs)
            arguments = {storage_of(leaf) for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)}
            for old, new in zip(tree_flatten(result)[0], tree_flatten(again)[0], strict=True):
                if isinstance(old, Tensor) and storage_of(old) not in arguments:
                    old.copy_(new)


class RecordedReplays(Replays[Any]):
    """Records the work of each bucket once and repeats it from then on."""

    def __init__(self, graph_bytes: int = 0) -> None:
        """Pretend that each graph takes so much of the pool."""
        super().__init__(torch.device("cpu"), "work is done")
        self.captures = True
        self.recordings: dict[Hashable, Recorder] = {}
        self.replayed: Counter[Hashable] = Counter()
        self.graph_bytes = graph_bytes

    def __contains__(self, bucket: Hashable) -> bool:
        return bucket in self.recordings

    @property
    def pool_bytes(self) -> int:
        return self.graph_bytes * len(self.recordings)

    def clear(self) -> None:
        self.recordings.clear()

    def run(self, work: StaticWork[Any]) -> None:
        recording = self.recordings.get(work.bucket)
        if recording is not None:
            with _disable_current_modes():  # one launch, whatever it consists of
                recording.replay()
            self.replayed[work.bucket] += 1
            return
        recording = Recorder()
        with recording:
            work.run()
        self.recordings[work.bucket] = recording


class UsesReplays(Protocol):
    """What runs work in graphs."""

    replays: Replays[Any]


def record(memory: UsesReplays) -> RecordedReplays:
    """Let work be recorded and replayed; return what does that."""
    replays = memory.replays = RecordedReplays()
    return replays


class TracedReplays(Replays[Any]):
    """Runs work by itself each time, and keeps the signatures of the runs of each bucket."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"), "work is done")
        self.signatures: dict[Hashable, list[list[str]]] = {}
        self.launches: Counter[str] = Counter()

    def __contains__(self, bucket: Hashable) -> bool:
        return True

    def run(self, work: StaticWork[Any]) -> None:
        recorder = Recorder()
        with recorder:
            work.run()
        self.signatures.setdefault(work.bucket, []).append(recorder.signature())
        self.launches = recorder.launches
