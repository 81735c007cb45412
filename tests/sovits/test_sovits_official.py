"""A folder that the original prepared, from an official base to a file that the original loads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import soundfile
import torch

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.official_files import read_official, write_official
from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.sovits.model import SoVITS
from GPT_SoVITS.sovits.trainer import SoVITSTrainer
from GPT_SoVITS.sovits.training_config import SoVITSTrainingConfig
from GPT_SoVITS.sovits.training_set import CODES_FILE, SSL_FOLDER, TEXT_FILE, WAVE_FOLDER, choose_source

SMALL = {
    "inter_channels": 8,
    "hidden_channels": 8,
    "filter_channels": 16,
    "n_layers": 2,
    "upsample_initial_channel": 32,
}
"""What an official config can say; its other sizes are hard-wired in the original."""
FEW_STEPS = {"segment_size": 5120, "discriminator_start": 1.0, "epoch_items": 1}


@pytest.fixture
def experiment(tmp_path):
    """Two recordings with content features and no tokens, under the names that the original gave them."""
    folder = tmp_path / "logs" / "anna"
    (folder / WAVE_FOLDER).mkdir(parents=True)
    (folder / SSL_FOLDER).mkdir()
    generator = np.random.default_rng(2)
    lines = []
    for name, seconds in (("a.mp3_0000000000_0000032000.wav", 1.0), ("b.mp3", 0.9)):
        samples = generator.normal(0, 0.1, int(seconds * 32000)).clip(-1, 1)
        with (folder / WAVE_FOLDER / name).open("wb") as file:
            soundfile.write(file, samples, 32000, format="WAV", subtype="PCM_16")
        frames = len(samples) // 640 - 1
        features = torch.randn(1, frames, 768).half().transpose(1, 2).requires_grad_()
        torch.save(features, folder / SSL_FOLDER / f"{name}.pt")
        lines.append(f"{name}\tHH AH0 L OW1 .\tNone\thello.")
    (folder / TEXT_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.mark.slow
def test_an_originals_folder_and_base_become_an_originals_voice(experiment, tmp_path, caplog):
    torch.manual_seed(4)
    config = merge_config(load_config("v2"), {"model": SMALL})
    start = SoVITS.from_config(config).state_dict()
    write_official(tmp_path / "s2G.pth", Checkpoint("sovits", "v2", config, start), posterior=True)
    plan = SoVITSTrainingConfig(
        "v2",
        experiment,
        tmp_path / "out",
        epochs=1,
        batch_size=2,
        save_every_epoch=1,
        base=tmp_path / "s2G.pth",
        precision="fp32",
        export_official=True,
        train=FEW_STEPS,
    )

    training = SoVITSTrainer(plan, lambda *_, **__: None, threading.Event())
    training.fit()

    assert training.source == "ssl"
    assert "begins from generator" not in caplog.text
    voice = read_official(tmp_path / "out" / f"anna_e1_s{training.progress.step}.pth")
    assert (voice.kind, voice.version) == ("sovits", "v2")
    assert voice.info["official"] == f"1epoch_{training.progress.step}iteration"
    assert voice.config["name"] == "anna"
    assert not any("enc_q" in name for name in voice.state)
    assert torch.equal(voice.state["ssl_proj.weight"].float(), start["ssl_proj.weight"].half().float())
    assert not torch.equal(voice.state["enc_p.proj.weight"].float(), start["enc_p.proj.weight"].half().float())


def test_stored_tokens_come_before_features_and_either_may_be_asked_for(experiment):
    assert choose_source(experiment, "auto") == "ssl"
    (experiment / CODES_FILE).write_text("item_name\tsemantic_audio\n")

    assert choose_source(experiment, "auto") == "codes"
    assert choose_source(experiment, "ssl") == "ssl"
