"""A pretended CUDA device: its tensors live on the CPU, and every operation on them is checked and counted.

It reports operations that mix devices, and everything for which a real device would have to be waited for. The values
are those of the CPU.
"""

from __future__ import annotations

import contextlib
import traceback
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("cuda", 0)
SIZED_BY_VALUES = ("nonzero", "masked_select", "unique", "_unique2", "bincount")
"""Their result has a size that only the device knows."""
READS = ("item", "__int__", "__float__", "__bool__", "__index__", "is_nonzero", "equal", "allclose", "tolist")
MEASURES = (
    *("dim", "size", "stride", "numel", "nelement", "__len__", "is_contiguous", "is_complex", "is_floating_point"),
    "element_size",
)
METADATA = (*MEASURES, "__set__", "requires_grad_", "is_inference", "__repr__", "__hash__", "__format__", "unbind")


class DeviceTensor(torch.Tensor):
    """A tensor that says it is on the device."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held):
        tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
            requires_grad=False,
        )
        tensor.held = held
        return tensor

    def __repr__(self):
        return f"DeviceTensor({tuple(self.held.shape)}, {self.held.dtype})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _dispatch(func, args, kwargs or {})


mixed: Counter[str] = Counter()
"""Operations of tensors on both sides, by where they were called."""
waits: Counter[str] = Counter()
"""Transfers and reads, each of which waits for the device, by where they were called."""


@contextlib.contextmanager
def pretended_cuda() -> Iterator[None]:
    """Make "cuda" the pretended device, and begin to count."""
    lazy_init, is_available = torch.cuda._lazy_init, torch.cuda.is_available
    torch.cuda._lazy_init = lambda: None
    torch.cuda.is_available = lambda: False
    mixed.clear()
    waits.clear()
    try:
        with _FunctionChecks(), _DispatchChecks():
            yield
    finally:
        torch.cuda._lazy_init, torch.cuda.is_available = lazy_init, is_available


def _place() -> str:
    for frame in reversed(traceback.extract_stack(limit=40)):
        if "GPT_SoVITS/" in frame.filename:
            return f"{frame.filename.split('GPT_SoVITS/', 1)[1]}:{frame.lineno}"
    return "?"


def _held(value: Any) -> Any:
    return value.held if isinstance(value, DeviceTensor) else value


def _on_device(value: Any) -> Any:
    return DeviceTensor(value) if isinstance(value, torch.Tensor) and not isinstance(value, DeviceTensor) else value


def _is_cuda(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


def _is_foreign(value: Any) -> bool:
    """Return whether a value is a tensor of the CPU that an operation on the device cannot read."""
    return isinstance(value, torch.Tensor) and not isinstance(value, DeviceTensor) and value.dim() > 0


def _dispatch(func, args, kwargs):
    name = func._schema.name.split("::")[1]
    leaves, _ = tree_flatten((args, kwargs))
    on_device = [leaf for leaf in leaves if isinstance(leaf, DeviceTensor)]
    held_args, held_kwargs = tree_map(_held, args), tree_map(_held, dict(kwargs))
    if name in ("to", "_to_copy"):
        return _transfer(func, args, held_args, held_kwargs)
    if name == "copy_":
        target, source = args[0], args[1]
        if isinstance(target, DeviceTensor) != isinstance(source, DeviceTensor) and source.dim() > 0:
            waits[f"copy_ {_place()}"] += 1
        func(*held_args, **held_kwargs)
        return target
    device = held_kwargs.get("device")
    makes = _is_cuda(device)
    if makes:
        held_kwargs["device"] = torch.device("cpu")
    if not on_device and not makes:
        return func(*held_args, **held_kwargs)
    if name == "_local_scalar_dense":
        waits[f"{name} {_place()}"] += 1
    if name in SIZED_BY_VALUES or (name == "repeat_interleave" and "Tensor" in func._overloadname):
        waits[f"{name} {_place()}"] += 1
    if name in ("index", "index_put_", "index_put"):
        indices = [index for index in args[1] if isinstance(index, torch.Tensor)]
        if any(index.dtype == torch.bool for index in indices):
            waits[f"boolean index {_place()}"] += 1
        if any(_is_foreign(index) for index in indices):
            mixed[f"{name} {_place()}"] += 1
    elif on_device and any(_is_foreign(leaf) for leaf in leaves):
        mixed[f"{name} {_place()}"] += 1
    result = func(*held_args, **held_kwargs)
    if device is not None and not makes:
        return result
    returns = func._schema.returns
    in_place = func._schema.is_mutable and not func._schema.name.endswith("_out")
    if in_place and returns and returns[0].alias_info is not None:
        return args[0]
    return tree_map(_on_device, result)


def _transfer(func, args, held_args, held_kwargs):
    target = held_kwargs.get("device")
    plain_args = list(held_args)
    for position, value in enumerate(plain_args):
        if isinstance(value, torch.device):
            target, plain_args[position] = value, torch.device("cpu")
    if held_kwargs.get("device") is not None:
        held_kwargs["device"] = torch.device("cpu")
    if func._overloadname == "other":
        target = DEVICE if isinstance(args[1], DeviceTensor) else torch.device("cpu")
    was_there = isinstance(args[0], DeviceTensor)
    goes_there = was_there if target is None else _is_cuda(target)
    result = func(*plain_args, **held_kwargs)
    if was_there != goes_there:
        waits[f"{name_of(func)} {_place()}"] += 1
    if goes_there:
        return args[0] if was_there and result is held_args[0] else DeviceTensor(result)
    return result.clone() if was_there and result is held_args[0] else result


def name_of(func: Any) -> str:
    """Return how an operation is called."""
    return getattr(func, "__name__", str(func))


class _DispatchChecks(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _dispatch(func, args, kwargs or {})


@contextlib.contextmanager
def _unchecked() -> Iterator[None]:
    with torch._C.DisableTorchFunction(), _disable_current_modes():
        yield


class _FunctionChecks(TorchFunctionMode):
    """Handles what never reaches the dispatcher: constructors, reads, metadata, indices."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        first = args[0] if args else None
        if func is torch.tensor and _is_cuda(kwargs.get("device")):
            waits[f"torch.tensor {_place()}"] += 1
            return DeviceTensor(torch.tensor(*args, **{name: v for name, v in kwargs.items() if name != "device"}))
        if func is torch.Tensor.new_tensor and isinstance(first, DeviceTensor):
            waits[f"new_tensor {_place()}"] += 1
            return DeviceTensor(torch.tensor(args[1], dtype=kwargs.get("dtype") or first.dtype))
        if func in (torch.Tensor.tolist, torch.Tensor.numpy) and isinstance(first, DeviceTensor):
            waits[f"{name_of(func)} {_place()}"] += 1
            return func(first.held)
        if func in (torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.cuda):
            return _convert(func, args, kwargs)
        if _is_cuda(kwargs.get("device")):
            held_kwargs = tree_map(_held, {**kwargs, "device": "cpu"})
            with _unchecked():
                return DeviceTensor(func(*tree_map(_held, args), **held_kwargs))
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and isinstance(first, DeviceTensor):
            return _index(func, args)
        if func is torch.Tensor.data_ptr and isinstance(first, DeviceTensor):
            return first.held.data_ptr()
        leaves, _ = tree_flatten((args, kwargs))
        if not any(isinstance(leaf, DeviceTensor) for leaf in leaves):
            return func(*args, **kwargs)
        return _operate(func, args, kwargs, leaves)


def _convert(func, args, kwargs):
    tensor = args[0]
    target = {torch.Tensor.cpu: torch.device("cpu"), torch.Tensor.cuda: DEVICE}.get(func)
    dtype = kwargs.get("dtype")
    for value in (*args[1:], kwargs.get("device")):
        if isinstance(value, torch.dtype):
            dtype = value
        elif isinstance(value, torch.device | str):
            target = torch.device(value)
        elif isinstance(value, torch.Tensor):
            target, dtype = (DEVICE if isinstance(value, DeviceTensor) else torch.device("cpu")), value.dtype
    was_there = isinstance(tensor, DeviceTensor)
    goes_there = was_there if target is None else target.type == "cuda"
    held = _held(tensor)
    with _unchecked():
        result = held if dtype is None or dtype == held.dtype else held.to(dtype)
    if was_there != goes_there:
        waits[f"to {_place()}"] += 1
        return DeviceTensor(result.clone()) if goes_there else result.clone()
    if result is held and not kwargs.get("copy"):
        return tensor
    return DeviceTensor(result) if goes_there else result


def _index(func, args):
    tensor, index = args[0], args[1]
    indices = index if isinstance(index, tuple) else (index,)
    reads = func is torch.Tensor.__getitem__
    for part in indices:
        if isinstance(part, torch.Tensor):
            if _is_foreign(part):
                mixed[f"index {_place()}"] += 1
            if part.dtype == torch.bool and (reads or isinstance(args[2], torch.Tensor)):
                waits[f"boolean index {_place()}"] += 1
    if not reads and _is_foreign(args[2]):
        waits[f"setitem {_place()}"] += 1

    def bound(value):
        if isinstance(value, DeviceTensor):
            waits[f"slice {_place()}"] += 1
            return int(value.held)
        return value

    def plain(part):
        if isinstance(part, slice):
            return slice(bound(part.start), bound(part.stop), bound(part.step))
        return _held(part)

    plain_index = tuple(plain(part) for part in indices) if isinstance(index, tuple) else plain(index)
    with _unchecked():
        return _on_device(func(tensor.held, plain_index, *[_held(value) for value in args[2:]]))


def _operate(func, args, kwargs, leaves):
    name = name_of(func)
    if name == "__get__":
        attribute = getattr(getattr(func, "__self__", None), "__name__", "")
        if attribute in ("T", "mT", "real", "imag", "H", "data"):
            return _on_device(func(args[0].held))
        if attribute in ("device", "is_cuda"):
            return DEVICE if attribute == "device" else True
        with _unchecked():
            return func(*args, **kwargs)
    if name == "__iter__":
        return iter([_on_device(row) for row in args[0].held])
    if name in ("detach", "unbind"):
        with _unchecked():
            return tree_map(_on_device, func(*tree_map(_held, args), **kwargs))
    if name in METADATA:
        if name == "requires_grad_":
            return args[0]
        with _unchecked():
            return func(*(tree_map(_held, args) if name in MEASURES else args), **kwargs)
    if name in (*READS, *SIZED_BY_VALUES):
        waits[f"{name} {_place()}"] += 1
    if name == "repeat_interleave" and any(isinstance(value, torch.Tensor) for value in args[1:]):
        waits[f"{name} {_place()}"] += 1
    if any(isinstance(leaf, torch.Generator) for leaf in leaves):
        mixed[f"{name} with a generator of the CPU {_place()}"] += 1
    if name == "copy_" and _is_foreign(args[1]):
        waits[f"copy_ {_place()}"] += 1
    elif any(_is_foreign(leaf) for leaf in leaves):
        mixed[f"{name} {_place()}"] += 1
    wrappers = {id(leaf.held): leaf for leaf in leaves if isinstance(leaf, DeviceTensor)}
    held_kwargs = {
        key: "cpu" if key == "device" and value is not None else _held(value) for key, value in kwargs.items()
    }
    with _unchecked():
        result = func(*tree_map(_held, args), **tree_map(_held, held_kwargs))
    return tree_map(lambda value: wrappers.get(id(value)) if id(value) in wrappers else _on_device(value), result)
