"""Which arithmetic a training uses."""

from __future__ import annotations

import pytest
import torch

from GPT_SoVITS.training.precision import Precision, choose_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_the_asked_precision_is_taken_and_gradients_stay_exact(name):
    precision = Precision(choose_precision(name, CPU, 32), CPU)
    weight = torch.nn.Parameter(torch.full((4, 4), 0.5))
    optimizer = torch.optim.SGD([weight], lr=1.0)

    with precision.autocast():
        y = torch.nn.functional.linear(torch.ones(1, 4), weight)
    precision.backward(y.float().sum())
    precision.unscale(optimizer)
    precision.step(optimizer)
    precision.update()

    assert y.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, torch.full((4, 4), -0.5))


def test_a_resumed_training_keeps_its_precision_and_scale():
    before = Precision("fp16", CPU, first_scale=64.0)
    after = Precision("fp32", CPU, first_scale=64.0)

    after.load_state_dict(before.state_dict())

    assert after.name == "fp16"
    assert after.scaler.get_scale() == 64.0


def test_a_training_that_was_told_its_precision_takes_that_when_it_is_resumed():
    before = Precision("fp16", CPU, first_scale=64.0)
    required, again = Precision("fp32", CPU, required=True), Precision("fp16", CPU, first_scale=8.0, required=True)

    required.load_state_dict(before.state_dict())
    again.load_state_dict(before.state_dict())

    assert required.name == "fp32"
    assert (again.name, again.scaler.get_scale()) == ("fp16", 64.0)


def test_a_processor_takes_bfloat16_only_where_it_is_fast():
    assert choose_precision("auto", CPU, 256) in ("fp32", "bf16")
