"""The model speaks: lengths, styles, seeds and folding."""

from __future__ import annotations

import pytest
import torch

from GPT_SoVITS.configs import merge_config
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.noise import SeededNoise
from GPT_SoVITS.sovits.encoder import stretch
from GPT_SoVITS.sovits.layers import WeightNorm
from GPT_SoVITS.sovits.model import SoVITS

CODES = torch.tensor([[[1, 5, 9, 3, 2, 2]]])
TEXT = torch.tensor([[10, 20, 30]])


@pytest.fixture
def reference():
    return torch.rand(1, 513, 40, generator=torch.Generator().manual_seed(1))


def test_the_same_seed_gives_the_same_samples_whatever_else_is_drawn(model, reference):
    first = model.decode(CODES, TEXT, model.style([reference]), noise=SeededNoise(5))
    torch.randn(100)

    assert torch.equal(first, model.decode(CODES, TEXT, model.style([reference]), noise=SeededNoise(5)))


def test_folding_weight_norm_changes_no_sound(model, reference):
    before = model.decode(CODES, TEXT, model.style([reference]), noise=SeededNoise(5))

    model.fold_weight_norm()

    assert not any(isinstance(module, WeightNorm) for module in model.modules())
    assert torch.allclose(model.decode(CODES, TEXT, model.style([reference]), noise=SeededNoise(5)), before, atol=1e-6)


@pytest.mark.parametrize(("speed", "frames"), [(1.0, 12), (1.25, 10), (0.5, 25)])
def test_the_length_follows_the_speed(speed, frames):
    assert stretch(torch.rand(1, 8, 12), speed).shape == (1, 8, frames)


def test_a_frame_lasts_twenty_milliseconds(model, reference):
    wave = model.decode(CODES, TEXT, model.style([reference]), noise=SeededNoise(5))

    assert wave.shape == (1, 1, 12 * 320)
    assert wave.abs().max() <= 1


def test_a_style_is_the_mean_of_its_references(model, reference):
    other = reference.flip(2)

    both = model.style([reference, other])

    assert torch.allclose(both, (model.style([reference]) + model.style([other])) / 2)


def test_a_style_needs_a_reference(model):
    with pytest.raises(ModelError, match="at least one reference"):
        model.style([])


def test_the_pro_family_needs_a_speaker_vector(tiny, reference):
    pro = SoVITS.from_config(merge_config(tiny, {"model": {"speaker_vector": True, "sv_dim": 12}}))

    with pytest.raises(ModelError, match="speaker vector"):
        pro.style([reference])


def test_two_frames_of_features_make_one_token(model):
    assert model.extract_codes(torch.randn(1, 16, 31)).shape == (1, 1, 15)
