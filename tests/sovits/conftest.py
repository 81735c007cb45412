"""A tiny recipe with random weights, and a folder of noisy tones to train it on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from one_step import TINY
from stop_after import StopAfter

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import save_checkpoint
from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.sovits.model import SoVITS
from GPT_SoVITS.sovits.training_config import SoVITSTrainingConfig
from GPT_SoVITS.sovits.training_set import CODES_FILE, TEXT_FILE, WAVE_FOLDER


@pytest.fixture
def tiny() -> dict[str, Any]:
    return merge_config(load_config("nano"), TINY)


@pytest.fixture
def model(tiny) -> SoVITS:
    torch.manual_seed(7)
    return SoVITS.from_config(tiny).eval()


@pytest.fixture
def base(tiny, model, tmp_path) -> Path:
    """Return the tiny model as a file to begin from."""
    path = tmp_path / "base.safetensors"
    save_checkpoint(path, Checkpoint(kind="sovits", version="nano", config=tiny, state=model.state_dict(), info={}))
    return path


class Folder:
    """A training-set folder that a test fills."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.data = config["data"]
        self.bins = config["model"]["codebook_bins"]
        self.random = np.random.default_rng(3)
        (path / WAVE_FOLDER).mkdir(parents=True)
        (path / TEXT_FILE).touch()
        (path / CODES_FILE).write_text("item_name\tsemantic_audio\n")

    def add(self, name: str, seconds: float, *, phones: str = "HH AH0 L OW1 .", codes: int | None = None) -> None:
        rate = self.data["sampling_rate"]
        time = np.arange(int(seconds * rate)) / rate
        sound = 0.3 * np.sin(2 * np.pi * self.random.uniform(100, 300) * time)
        sound += self.random.normal(0, 0.02, len(time))
        soundfile.write(self.path / WAVE_FOLDER / name, sound, rate)
        self.add_text(name, phones)
        count = len(time) // self.data["hop_length"] // 2 if codes is None else codes
        self.add_codes(name, self.random.integers(0, self.bins, count).tolist())

    def add_text(self, name: str, phones: str) -> None:
        with (self.path / TEXT_FILE).open("a", encoding="utf-8") as file:
            file.write(f"{name}\t{phones}\tNone\thello.\n")

    def add_codes(self, name: str, codes: list[int]) -> None:
        with (self.path / CODES_FILE).open("a", encoding="utf-8") as file:
            file.write(f"{name}\t{' '.join(map(str, codes))}\n")


@pytest.fixture
def folder(tiny, tmp_path) -> Folder:
    return Folder(tmp_path / "set", tiny)


@pytest.fixture
def full_folder(folder) -> Folder:
    """Three usable recordings."""
    for i, seconds in enumerate((0.8, 1.1, 0.9)):
        folder.add(f"{i}.wav", seconds)
    return folder


@pytest.fixture
def plan(full_folder, base, tmp_path) -> SoVITSTrainingConfig:
    """Two epochs of three updates."""
    return SoVITSTrainingConfig(
        "nano",
        full_folder.path,
        tmp_path / "out",
        epochs=2,
        batch_size=4,
        save_every_epoch=1,
        base=base,
        train=TINY["train"],
    )


@pytest.fixture
def stop_after() -> type[StopAfter]:
    return StopAfter


def read_metrics(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def metrics():
    return read_metrics
