"""AP-BWE has no fixture: what its structure promises is held here."""

from __future__ import annotations

import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_super_resolution import CONFIG, small_super_resolution, write_small_super_resolution

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.mel import resample
from GPT_SoVITS.vocoders import load_super_resolution
from GPT_SoVITS.vocoders.super_resolution import ScaledConvNeXtBlock, super_resolution, super_resolution_sizes


def wave(samples: int, loudness: float = 0.1) -> torch.Tensor:
    return loudness * torch.randn(1, samples, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def folder(tmp_path):
    write_small_super_resolution(tmp_path)
    return tmp_path


@given(samples=st.integers(1, 700), rows=st.integers(1, 2))
@settings(max_examples=20)
def test_twice_as_many_samples_come_out_and_none_beyond_full_scale(samples, rows):
    fine = small_super_resolution()(wave(samples, 5.0).repeat(rows, 1))

    assert fine.shape == (rows, 2 * samples)
    assert fine.abs().max() <= 1.0


def test_with_nothing_learned_the_amplitude_passes_through():
    model, coarse = small_super_resolution(), resample(wave(400), 24_000, 48_000)
    for layer in (model.linear_post_mag, model.linear_post_pha_r, model.linear_post_pha_i):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    amplitude, phase = model.analyze(coarse)

    gained, turned = model.extend(amplitude, phase)

    assert torch.equal(gained, amplitude)
    assert not turned.any()
    restored = model.synthesize(gained, phase, coarse.shape[-1])
    assert torch.allclose(restored, coarse, atol=1e-3)


def test_amplitude_is_measured_and_made_again():
    model, coarse = small_super_resolution(), resample(wave(500), 24_000, 48_000)

    again = model.synthesize(*model.analyze(coarse), coarse.shape[-1])

    assert torch.allclose(again, coarse, atol=1e-3)  # but for what is added before the logarithm


def test_the_phase_follows_both_of_its_outputs():
    model = small_super_resolution()
    for layer, bias in ((model.linear_post_pha_r, -1.0), (model.linear_post_pha_i, 0.5)):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.constant_(layer.bias, bias)

    _, phase = model.extend(*model.analyze(resample(wave(300), 24_000, 48_000)))

    assert torch.allclose(phase, torch.atan2(torch.tensor(0.5), torch.tensor(-1.0)).expand_as(phase))


def test_each_stream_hears_the_other():
    model = small_super_resolution()
    amplitude, phase = model.analyze(resample(wave(300), 24_000, 48_000))

    gained, turned = model.extend(amplitude, phase)
    gained_by_phase, _ = model.extend(amplitude, phase + 0.5)
    _, turned_by_amplitude = model.extend(amplitude + 0.5, phase)

    assert not torch.allclose(gained, gained_by_phase, atol=1e-4)
    assert not torch.allclose(turned, turned_by_amplitude, atol=1e-4)


def test_in_a_layer_the_phase_hears_the_amplitude_that_has_heard_the_phase():
    model = small_super_resolution()
    for block in (*model.convnext_mag, *model.convnext_pha):
        torch.nn.init.zeros_(block.gamma)  # leaves the sums alone: (m, p) -> (m + p, m + 2 p) in each of two layers
    inputs: dict[str, torch.Tensor] = {}
    for name in ("norm_pre_mag", "norm_pre_pha"):
        model.get_submodule(name).register_forward_hook(lambda _, __, output, name=name: inputs.update({name: output}))
    for name in ("norm_post_mag", "norm_post_pha"):
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, arguments, name=name: inputs.update({name: arguments[0]})
        )

    model.extend(*model.analyze(resample(wave(300), 24_000, 48_000)))

    magnitude, angle = inputs["norm_pre_mag"], inputs["norm_pre_pha"]
    assert torch.allclose(inputs["norm_post_mag"], 2 * magnitude + 3 * angle, atol=1e-5)
    assert torch.allclose(inputs["norm_post_pha"], 3 * magnitude + 5 * angle, atol=1e-5)


def test_a_block_whose_scale_is_zero_changes_nothing():
    block, x = ScaledConvNeXtBlock(8), torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(1))
    torch.nn.init.zeros_(block.gamma)

    assert torch.equal(block(x), x)


def test_a_row_does_not_hear_its_neighbours():
    model, rows = small_super_resolution(), torch.cat([wave(300, 0.1), wave(300, 0.2)])

    together, alone = model(rows), model(rows[:1])

    mirrored = 9 * CONFIG["hop_size"] + CONFIG["n_fft"]  # at both ends rounding decides between phases of pi and -pi
    assert torch.allclose(alone[:, mirrored:-mirrored], together[:1, mirrored:-mirrored], atol=1e-4)


def test_it_opens_from_its_folder_and_from_the_models_folder(folder, tmp_path):
    below = tmp_path / "models/tools/AP_BWE_main/24kto48k"
    below.mkdir(parents=True)

    opened = load_super_resolution(folder)
    for name in ("config.json", "g_24kto48k.zip"):
        (folder / name).rename(below / name)
    from_models = load_super_resolution(tmp_path / "models")

    assert opened is not None
    assert from_models is not None
    assert opened.sample_rate == 48_000
    assert torch.equal(opened(wave(200)), from_models(wave(200)))
    assert torch.equal(opened(wave(200)), small_super_resolution()(wave(200)))


def test_without_its_files_there_is_a_notice_and_the_sound_stays_as_it_is(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        super_resolution_network = load_super_resolution(tmp_path)

    assert super_resolution_network is None
    assert "stays at 24 kHz" in caplog.text
    assert "g_24kto48k.zip" in caplog.text


def test_without_its_files_it_is_refused_where_it_is_required(tmp_path):
    with pytest.raises(ModelError) as refusal:
        load_super_resolution(tmp_path, required=True)

    assert refusal.value.code == "missing_part"


@pytest.mark.parametrize(
    "change", [{"n_fft": 0}, {"win_size": 128}, {"hop_size": 64}, {"n_fft": 65}, {"ConvNeXt_layers": "many"}]
)
def test_a_configuration_without_sense_is_refused(change):
    with pytest.raises(ModelError, match="AP-BWE") as refusal:
        super_resolution_sizes(CONFIG | change)

    assert refusal.value.code == "bad_vocoder"


def test_a_configuration_that_lacks_a_size_is_refused_by_its_name():
    with pytest.raises(ModelError, match="win_size"):
        super_resolution_sizes({name: value for name, value in CONFIG.items() if name != "win_size"})


def test_weights_of_another_size_are_refused():
    with pytest.raises(ModelError, match="do not fit") as refusal:
        super_resolution(CONFIG | {"ConvNeXt_layers": 3}, small_super_resolution().state_dict())

    assert refusal.value.code == "bad_vocoder"
