"""One update, however it is cut: into batches, precisions and recomputed layers."""

from __future__ import annotations

import pytest
import torch
from one_step import assert_same_gradients, gradients_of, make_batch, make_step

from GPT_SoVITS.sovits.trainer import costly_layers
from GPT_SoVITS.training.activation_checkpointing import checkpoint_layers


def test_two_batches_make_the_gradients_of_one_of_twice_the_size():
    whole = gradients_of(make_step())

    halves = gradients_of(make_step(), halves=[0, 1])

    assert_same_gradients(halves, whole)


def test_several_batches_are_judged_with_the_random_numbers_that_the_discriminator_saw():
    step = make_step(dropout=True)
    batch, _ = make_batch(slice(0, 2))
    waves = []
    step.discriminator.register_forward_pre_hook(lambda _, inputs: waves.append(inputs[0].detach().clone()))

    torch.manual_seed(1)
    step([batch, batch])

    # The discriminator's update sees real and generated of both batches, the generator's the same again.
    assert len(waves) == 8
    for taught, judged in zip(waves[:4], waves[4:], strict=True):
        assert torch.equal(taught, judged)


def test_recomputed_layers_have_the_same_gradients():
    plain = gradients_of(make_step(dropout=False))
    step = make_step()
    checkpoint_layers(costly_layers(step.generator, step.discriminator))

    assert_same_gradients(gradients_of(step), plain)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.15), ("fp16", 0.03)])
def test_coarse_arithmetic_points_the_same_way(precision, tolerance):
    exact = gradients_of(make_step())

    coarse = gradients_of(make_step(precision=precision))

    for which in ("generator", "discriminator"):
        ours, theirs = (
            torch.cat([g[name].flatten() for name in exact if name.startswith(which)]) for g in (coarse, exact)
        )
        assert float((ours - theirs).norm() / theirs.norm()) < tolerance


def test_an_overflow_leaves_the_update_out_and_lowers_the_scale():
    step = make_step(precision="fp16")
    step.precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60)
    before = {name: tensor.clone() for name, tensor in step.generator.state_dict().items()}
    batch, draws = make_batch(slice(0, 2))

    losses = step([batch], draws=[draws])

    assert torch.tensor(list(losses.values())).isfinite().all()
    assert all(torch.equal(tensor, before[name]) for name, tensor in step.generator.state_dict().items())
    assert step.precision.scaler.get_scale() == 2.0**59
