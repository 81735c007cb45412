"""What an update of ScaledAdam costs, and whose memory it changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from GPT_SoVITS.gpt.scaled_adam import ScaledAdam


class OperationCount(TorchDispatchMode):
    """Counts the operations of a block."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), keywords: Mapping[str, Any] | None = None
    ) -> Any:
        self.count += 1
        return function(*arguments, **(keywords or {}))


def parameters_of(count: int) -> list[Tensor]:
    torch.manual_seed(count)
    return [nn.Parameter(torch.randn(3, 4)) for _ in range(count)]


def update(optimizer: ScaledAdam, parameters: list[Tensor], times: int = 1) -> None:
    for number in range(times):
        torch.manual_seed(number)
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()


def operations_of(count: int) -> int:
    parameters = parameters_of(count)
    optimizer = ScaledAdam(parameters)
    update(optimizer, parameters, 2)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    with OperationCount() as counter:
        optimizer.step()
    return counter.count - 2 * count  # what finds a parameter and its part


def test_an_update_takes_as_many_operations_for_many_tensors_of_a_shape_as_for_few() -> None:
    assert operations_of(50) <= operations_of(2) + 2


def test_parameters_whose_memory_was_replaced_are_still_updated() -> None:
    parameters, others = parameters_of(5), parameters_of(5)
    optimizer, undisturbed = ScaledAdam(parameters), ScaledAdam(others)
    update(optimizer, parameters)
    for parameter in parameters[1:3]:
        parameter.data = parameter.detach().clone()

    update(optimizer, parameters, 9)
    update(undisturbed, others)
    update(undisturbed, others, 9)

    assert all(torch.equal(parameter, other) for parameter, other in zip(parameters, others, strict=True))


def test_weights_that_were_updated_are_stored_and_loaded_by_name(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    update(ScaledAdam(network.parameters()), list(network.parameters()))

    save_file(dict(network.state_dict()), tmp_path / "weights.safetensors")
    torch.save(network.state_dict(), tmp_path / "weights.pt")

    for stored in (load_file(tmp_path / "weights.safetensors"), torch.load(tmp_path / "weights.pt")):
        assert all(torch.equal(stored[name], tensor) for name, tensor in network.state_dict().items())
