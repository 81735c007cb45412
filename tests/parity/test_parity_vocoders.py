"""BigVGAN and the HiFi-GAN of v4 against the fixtures of parity/v3v4."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from parity_fixtures import Fixture, absolute_error, fixtures
from torch import Tensor, nn

from GPT_SoVITS.vocoders.bigvgan import low_pass_taps
from GPT_SoVITS.vocoders.load import bigvgan, hifigan

NETWORK = 2e-5
FILTER = 1e-6


def has_vocoders(path: Path) -> bool:
    return any(name.startswith(("bigvgan", "v4_vocoder")) for name in json.loads(path.read_text()))


SHAPES = fixtures("official_shapes", suffix=".json", where=has_vocoders)


@pytest.mark.parametrize("path", fixtures("bigvgan"))
def test_bigvgan_gives_the_reference_wave(path):
    fixture = Fixture(path)
    vocoder = bigvgan(fixture.config, fixture.state())

    with torch.inference_mode():
        wave = vocoder(fixture["mel"])

    assert absolute_error(wave, fixture["out"]) < NETWORK


@pytest.mark.parametrize("path", fixtures("bigvgan"))
def test_bigvgan_folded_beforehand_gives_the_same_wave(path):
    fixture = Fixture(path)
    plain = bigvgan(fixture.config, fixture.state()).state_dict()
    vocoder = bigvgan(fixture.config, plain)

    with torch.inference_mode():
        wave = vocoder(fixture["mel"])

    assert not any(name.endswith(("weight_g", "weight_v")) for name in plain)
    assert absolute_error(wave, fixture["out"]) < NETWORK


@pytest.mark.parametrize("path", fixtures("bigvgan", having="act_in"))
def test_an_anti_aliased_activation_gives_the_reference_numbers(path):
    fixture = Fixture(path)
    activation = bigvgan(fixture.config, fixture.state()).resblocks[0].activations[0]

    with torch.inference_mode():
        ours = {"act_up": activation.upsample(fixture["act_in"]), "act_out": activation(fixture["act_in"])}

    checked = ours.keys() & set(fixture.names("act_"))
    assert checked
    for name in checked:
        assert absolute_error(ours[name], fixture[name]) < NETWORK, name


@pytest.mark.parametrize("path", fixtures("bigvgan"))
def test_the_filters_in_the_file_are_those_that_are_computed(path):
    stored = [tensor for name, tensor in Fixture(path).state().items() if name.endswith(".filter")]

    assert stored
    assert all(absolute_error(low_pass_taps(), tensor.flatten()) < FILTER for tensor in stored)


@pytest.mark.parametrize("path", fixtures("hifigan"))
def test_hifigan_gives_the_reference_wave(path):
    fixture = Fixture(path)
    vocoder = hifigan(fixture.state(), fixture.config)

    with torch.inference_mode():
        wave = vocoder(fixture["mel"])

    assert absolute_error(wave, fixture["out"]) < NETWORK


@pytest.mark.parametrize("path", SHAPES)
def test_vocoders_have_the_official_names_and_shapes(path):
    shapes = json.loads(path.read_text())
    totals = shapes.get("_totals", {})

    for name in [name for name in shapes if name.startswith("bigvgan")]:
        state = on_meta(shapes[name])
        vocoder = bigvgan(bigvgan_config(shapes[name]), state)
        assert plain_shapes(vocoder) == folded(shapes[name]), name
        assert parameters(vocoder) == totals.get("bigvgan_params_folded", parameters(vocoder))
    if "v4_vocoder" in shapes:
        vocoder = hifigan(on_meta(shapes["v4_vocoder"]))
        assert plain_shapes(vocoder) == shapes["v4_vocoder"]
        assert parameters(vocoder) == totals.get("v4_vocoder_params", parameters(vocoder))


def on_meta(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def folded(shapes: dict[str, list[int]]) -> dict[str, list[int]]:
    """Return the names without weight norm: a kernel has the shape of its direction."""
    kept = {name: shape for name, shape in shapes.items() if not name.endswith("weight_g")}
    return {name.replace(".weight_v", ".weight"): shape for name, shape in kept.items()}


def plain_shapes(model: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def bigvgan_config(shapes: dict[str, list[int]]) -> dict[str, Any]:
    """Return a configuration that has the sizes of the listed shapes."""
    plain = folded(shapes)
    kernels = [plain[name][2] for name in plain if name.startswith("ups.") and name.endswith(".weight")]
    starts = [name for name in plain if name.endswith(".convs1.0.weight")]
    blocks = [plain[name][2] for name in starts[: len(starts) // len(kernels)]]
    return {
        "activation": "snakebeta",
        "num_mels": plain["conv_pre.weight"][1],
        "resblock": "1",
        "resblock_dilation_sizes": [[1, 3, 5]] * len(blocks),
        "resblock_kernel_sizes": blocks,
        "snake_logscale": True,
        "upsample_initial_channel": plain["conv_pre.weight"][0],
        "upsample_kernel_sizes": kernels,
        "upsample_rates": [kernel // 2 for kernel in kernels],
        "use_bias_at_final": "conv_post.bias" in plain,
        "use_tanh_at_final": False,
    }
