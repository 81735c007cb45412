"""What the base's SoVITS is trained with: who speaks, and the networks that judge what it generates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.features.whisper_content import ContentEncoder
from GPT_SoVITS.features.whisper_model import model_folder
from scripts.train_base import content_loss
from scripts.train_base.content_loss import ContentLayers, ContentLoss, read_variables
from scripts.train_base.features import extract
from scripts.train_base.measure import UNSEEN
from scripts.train_base.shift import shift
from scripts.train_base.speakers import further_speakers, speakers
from scripts.train_base.spectrum_discriminator import Adversary

RATE = 16_000


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("models"))


def vowel(hertz: float, seconds: float = 1.6) -> np.ndarray:
    """(N,) float32: harmonics that fall off, as a voice's do."""
    time = np.arange(round(seconds * RATE)) / RATE
    partials = [np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, int(4000 / hertz))]
    return (0.2 * np.sum(partials, axis=0)).astype(np.float32)


def test_no_speaker_of_the_training_is_one_of_the_unseen_ones() -> None:
    taught = [*speakers(), *further_speakers()]
    names = [speaker.name for speaker in taught]
    unseen = {name for voices in UNSEEN.values() for name in voices}

    assert not unseen & {voice for speaker in taught for voice in speaker.voices}
    assert len(set(names)) == len(names) == 105
    assert not any("-" in name for name in names), "a hyphen divides the names of clips"


def test_the_layers_of_the_recognizer_are_those_that_ctranslate2_computes(
    whisper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_loss, "LAYERS", 6)
    with (whisper / "model.bin").open("rb") as file:
        arrays = read_variables(file)
    samples = vowel(140)
    padded = np.pad(samples, (0, RATE))  # as the encoder pads every clip

    with torch.inference_mode():
        hidden = ContentLayers(arrays)(torch.from_numpy(padded)[None], None)[0][-1][0]
    gamma, beta = (
        torch.from_numpy(arrays[f"encoder/layer_norm/{name}"].astype(np.float32)) for name in ("gamma", "beta")
    )
    mine = torch.nn.functional.layer_norm(hidden, (512,), gamma, beta).numpy()[: len(samples) // 320]
    mine = (mine - mine.mean(1, keepdims=True)) / mine.std(1, keepdims=True)

    np.testing.assert_allclose(mine, ContentEncoder(whisper).encode(samples, keep_position=True), atol=1e-3)


def test_the_content_loss_is_nothing_for_the_same_speech_and_more_the_less_it_is_alike(whisper: Path) -> None:
    loss = ContentLoss(whisper)
    recorded = torch.from_numpy(vowel(140))[None]
    noise = torch.randn(recorded.shape, generator=torch.Generator().manual_seed(1))
    near, far = (float(loss(recorded + level * noise, recorded)) for level in (0.002, 0.05))

    assert float(loss(recorded, recorded)) == pytest.approx(0, abs=1e-6)
    assert 0 < near < far


def test_a_discriminator_learns_to_tell_noise_from_a_voice_and_shows_the_generator_where_to_go() -> None:
    torch.manual_seed(1)
    adversary = Adversary(rate=2e-3)
    recorded = torch.from_numpy(vowel(140, 0.5))[None]
    generated = (0.1 * torch.randn(recorded.shape)).requires_grad_()
    losses = [adversary.losses(generated, recorded) for _ in range(30)]
    (losses[-1]["adversarial"] + losses[-1]["features"]).backward()

    assert losses[-1]["discriminator"] < 0.2 < losses[0]["discriminator"]
    assert generated.grad is not None
    assert generated.grad.abs().max() > 0


def test_a_clip_at_another_speed_is_another_speakers_with_pitch_and_length_to_match(
    tmp_path: Path, whisper: Path
) -> None:
    folder = tmp_path / "teacher-speech"
    folder.mkdir()
    (tmp_path / "models").symlink_to(whisper.parent)
    file = folder / "en000000-af_heart.wav"
    write_wav(file, vowel(140), RATE)
    (folder / "texts.jsonl").write_text(json.dumps({"file": str(file), "text": "Ah.", "language": "en"}) + "\n")

    extract(folder, tmp_path)
    shift(folder, tmp_path)
    shift(folder, tmp_path)

    [shifted] = (tmp_path / "features" / "shifted").iterdir()
    speaker, _, factor = shifted.stem.rpartition("-")[2].partition("~")
    with np.load(shifted) as clip:
        voiced = clip["f0"][clip["f0"] > 0]
        assert len(clip["wave"]) == len(clip["f0"]) * 320 == len(clip["content"]) * 320
        assert len(clip["wave"]) == pytest.approx(1.6 * RATE / float(factor), abs=640)
        assert np.median(voiced) == pytest.approx(140 * float(factor), rel=0.03)
    assert speaker == "af_heart"
