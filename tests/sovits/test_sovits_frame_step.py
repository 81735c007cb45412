"""nano's step: spectra, pitch and voicing of what the tokens become."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
import torch
from one_step import TINY

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import load_checkpoint, save_checkpoint
from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.sovits.data import SoVITSItemLoader, collate
from GPT_SoVITS.sovits.frame_step import FrameOptimizerStep, frame_losses, spectral_loss, synthesize_segments
from GPT_SoVITS.sovits.model import SoVITS, SoVITSBatch
from GPT_SoVITS.sovits.token_noise import TokenNoise
from GPT_SoVITS.sovits.trainer import SoVITSTrainer
from GPT_SoVITS.sovits.training_set import select_entries

FRAMES = {
    "rate": 16_000, "hop": 320, "width": 16, "layers": 2, "fine_width": 16, "fine_layers": 1, "pitch_width": 8,
    "pitch_layers": 1,
}  # fmt: skip


@pytest.fixture
def recipe() -> dict[str, Any]:
    """nano's, that computes in milliseconds."""
    return merge_config(load_config("nano"), {"model": TINY["model"] | {"frames": FRAMES}, "train": TINY["train"]})


@pytest.fixture
def nano(recipe: dict[str, Any]) -> SoVITS:
    torch.manual_seed(1)
    return SoVITS.from_config(recipe)


@pytest.fixture
def batch(full_folder, recipe: dict[str, Any]) -> SoVITSBatch:
    items = SoVITSItemLoader(full_folder.path, recipe)
    return collate([items(entry) for entry in select_entries(full_folder.path, recipe).entries])


def test_a_recording_brings_its_pitch_to_every_frame(batch: SoVITSBatch):
    assert batch.f0 is not None
    assert batch.f0.shape == (len(batch.spec), batch.spec.shape[2])
    assert 80 < batch.f0[batch.f0 > 0].median() < 320


def test_spectra_are_alike_when_the_sound_is():
    sound = torch.randn(2, 4000, generator=torch.Generator().manual_seed(1))

    assert float(spectral_loss(sound, sound)) == 0
    assert float(spectral_loss(0.9 * sound, sound)) < float(spectral_loss(0.5 * sound, sound))


def test_a_style_says_nothing_about_the_words_of_its_own_row(nano: SoVITS, recipe: dict[str, Any], batch: SoVITSBatch):
    step = FrameOptimizerStep(nano, recipe)

    nano.eval()
    styles = step.shifted_styles(batch)
    changed = replace(batch, spec=torch.cat([batch.spec[:1] * 3, batch.spec[1:]]))

    assert torch.equal(step.shifted_styles(changed)[0], styles[0])
    assert not torch.equal(step.shifted_styles(changed)[1], styles[1])


def test_a_recording_shorter_than_a_segment_is_learnt_from(nano: SoVITS, batch: SoVITSBatch):
    noise = TokenNoise(nano.quantizer, 0.5)
    losses = frame_losses(
        synthesize_segments(nano, batch, torch.zeros(len(batch.spec), 8, 1), segment=500, noise=noise)
    )

    assert all(loss.isfinite() for loss in losses.values())


def test_a_few_steps_teach_and_move_no_token(nano: SoVITS, recipe: dict[str, Any], batch: SoVITSBatch):
    step = FrameOptimizerStep(nano, recipe)
    step.set_rate(5e-3)
    kept = {name: t.clone() for name, t in nano.state_dict().items() if name.startswith(("ssl_proj", "quantizer"))}

    torch.manual_seed(0)
    losses = [step([batch]) for _ in range(12)]

    assert losses[-1]["total"] < 0.9 * losses[0]["total"]
    assert all(torch.equal(nano.state_dict()[name], tensor) for name, tensor in kept.items())


def test_a_training_of_nano_goes_on_exactly_where_it_stopped(plan, nano: SoVITS, recipe, tmp_path, stop_after):
    base = tmp_path / "nano.safetensors"
    save_checkpoint(base, Checkpoint(kind="sovits", version="nano", config=recipe, state=nano.state_dict(), info={}))
    plan = replace(plan, base=base, precision="fp32", train={})

    def train(output: str, *stops: threading.Event) -> dict[str, torch.Tensor]:
        for stop in (*stops, threading.Event()):
            training = SoVITSTrainer(replace(plan, output=tmp_path / output), lambda *_, **__: None, stop)
            finished = training.fit()
        assert finished
        assert training.main_loss == "spectral"
        return load_checkpoint(tmp_path / output / "sovits-e2.safetensors").state

    whole, parts = train("whole"), train("parts", stop_after(2), stop_after(1))

    assert whole.keys() == set(nano.state_dict())
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
