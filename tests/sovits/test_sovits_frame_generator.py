"""The generator that filters pulses and noise."""

from __future__ import annotations

import pytest
import torch

from GPT_SoVITS.sovits.config import FrameGeneratorConfig
from GPT_SoVITS.sovits.frame_generator import FrameGenerator, pulses

RATE, HOP = 16_000, 320


@pytest.fixture
def generator() -> FrameGenerator:
    torch.manual_seed(0)
    config = FrameGeneratorConfig(
        rate=RATE, hop=HOP, width=16, layers=2, fine_width=12, fine_layers=1, pitch_width=8, pitch_layers=1
    )
    return FrameGenerator(config, channels=8, style=6).eval()


@pytest.mark.parametrize("hertz", [80.0, 143.7, 400.0])
def test_pulses_repeat_at_their_pitch_with_unit_power(hertz):
    train = pulses(torch.full((1, 50), hertz), RATE, HOP)[0]

    spectrum = torch.fft.rfft(train * torch.hann_window(len(train))).abs()
    step = RATE / len(train)
    strongest = spectrum[: int(1.5 * hertz / step)].argmax() * step

    assert train.square().mean().item() == pytest.approx(1.0, rel=0.05)
    assert strongest.item() == pytest.approx(hertz, abs=1.5)


def test_pulses_are_silent_where_nothing_is_voiced():
    f0 = torch.zeros(1, 20)
    f0[:, 5:10] = 200

    train = pulses(f0, RATE, HOP)[0].view(20, HOP)

    assert train[5:10].abs().max() > 1
    assert not train[:5].any()
    assert not train[10:].any()


def test_a_frame_becomes_a_hop_and_the_same_input_the_same_sound(generator):
    z, style = torch.randn(2, 8, 30), torch.randn(2, 6, 1)

    once, again, alone = generator(z, style), generator(z, style), generator(z[:1], style[:1])

    assert once.shape == (2, 1, 30 * HOP)
    assert torch.equal(once, again)
    torch.testing.assert_close(once[:1], alone, atol=1e-3, rtol=0)


def test_the_pitch_that_is_given_is_the_pitch_that_is_heard(generator):
    z, style = torch.zeros(1, 8, 50), torch.zeros(1, 6, 1)

    wave = generator(z, style, f0=torch.full((1, 50), 250.0))[0, 0]

    spectrum = torch.fft.rfft(wave * torch.hann_window(len(wave))).abs()
    peaks = spectrum[[250 * k for k in range(1, 9)]]
    between = spectrum[[250 * k + 125 for k in range(1, 9)]]
    assert peaks.min() > 5 * between.max()


def test_every_weight_of_sound_and_pitch_learns(generator):
    generator.train()
    z, style = torch.randn(2, 8, 30), torch.randn(2, 6, 1)
    f0 = torch.full((2, 30), 120.0)

    pitch = generator.pitch(z, style)
    (generator(z, style, f0=f0).square().mean() + pitch.log.square().mean() + pitch.voiced.mean()).backward()

    assert not [name for name, p in generator.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
