"""Where loaded networks are kept, and what they weigh."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor, nn

from GPT_SoVITS.gpt.decoder_choice import packed_bytes
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.sovits.compiled_generator import CompiledGenerator

Model = TypeVar("Model")


@runtime_checkable
class ModelStore(Protocol):
    """Keeps loaded networks for as long as there is room."""

    def get(self, kind: str, key: Hashable, load: Callable[[], Model], *, name: str = "") -> Model:
        """Return what is kept under a key; load it when it is not there."""

    def share(self, kind: str, key: Hashable, load: Callable[[], Model]) -> Model:
        """Return a part of something that is kept; load it when nothing has it."""

    def drop(self, kind: str) -> bool:
        """Forget everything of a kind; return whether there was anything."""


class UnlimitedStore:
    """A store that keeps everything; for a single voice. Not thread-safe."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, Hashable], object] = {}

    def get(self, kind: str, key: Hashable, load: Callable[[], Model], *, name: str = "") -> Model:
        if (kind, key) not in self._models:
            self._models[kind, key] = load()
        return cast(Model, self._models[kind, key])

    def share(self, kind: str, key: Hashable, load: Callable[[], Model]) -> Model:
        return load()

    def drop(self, kind: str) -> bool:
        keys = [key for key in self._models if key[0] == kind]
        for key in keys:
            del self._models[key]
        return bool(keys)


def memory_of(model: object) -> dict[Hashable, int]:
    """Return the pieces of memory that an object's tensors occupy, in bytes, by what identifies them.

    Objects that share a tensor have its piece in common.
    """
    pieces: dict[Hashable, int] = {}
    for part in _parts(model, set()):
        if isinstance(part, Tensor):
            storage = part.untyped_storage()
            pieces[storage.data_ptr()] = storage.nbytes()
        elif isinstance(part, CompiledGenerator):
            pieces["compiled", id(part)] = part.compiled_bytes
        elif part.device.type == "cpu":  # the decoder keeps a copy of the weights in its own layout
            estimate = sum(parameter.nbytes for parameter in part.parameters())
            pieces["packed", id(part)] = packed_bytes(part) or estimate
    return pieces


def _parts(value: object, visited: set[int]) -> Iterator[Tensor | Text2Semantic | CompiledGenerator]:
    """Yield the tensors of an object and of what it consists of, and the networks that others keep copies of."""
    if id(value) in visited or isinstance(value, str | bytes | int | float | torch.dtype | torch.device | type):
        return
    if isinstance(value, ModelStore):  # what is in it counts by itself
        return
    visited.add(id(value))
    if isinstance(value, Tensor):
        yield value
        return
    if isinstance(value, Text2Semantic):
        yield value
    if isinstance(value, nn.Module):
        yield from (module for module in value.modules() if isinstance(module, CompiledGenerator))
        yield from value.parameters()
        yield from value.buffers()
        return
    if isinstance(value, dict):
        members = list(value.values())
    elif isinstance(value, list | tuple):
        members = list(value)
    else:
        names = getattr(type(value), "__slots__", ())
        members = [getattr(value, name) for name in names if isinstance(name, str) and hasattr(value, name)]
        members += list(getattr(value, "__dict__", {}).values())
    for member in members:
        yield from _parts(member, visited)
