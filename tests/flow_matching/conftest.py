"""A tiny v4 with random weights, and a folder of noisy tones to train it on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from stop_after import StopAfter
from tiny_flow import TINY, lively, tiny_of

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint, save_checkpoint
from GPT_SoVITS.flow_matching import lora
from GPT_SoVITS.flow_matching.model import FlowMatchingSoVITS
from GPT_SoVITS.flow_matching.official import recipe_of
from GPT_SoVITS.flow_matching.trainer import FlowMatchingTrainer
from GPT_SoVITS.flow_matching.training_config import FlowMatchingTrainingConfig
from GPT_SoVITS.sovits.training_set import CODES_FILE, SSL_FOLDER, TEXT_FILE, WAVE_FOLDER


@pytest.fixture
def tiny() -> dict[str, Any]:
    return tiny_of("v4")


@pytest.fixture
def model(tiny) -> FlowMatchingSoVITS:
    return lively(tiny)


@pytest.fixture
def base_of(model, tmp_path) -> Callable[[str], Path]:
    """Return the tiny model as a file of a version to begin from."""

    def save(version: str) -> Path:
        path = tmp_path / f"{version}.safetensors"
        config, state = tiny_of(version), model.state_dict()
        save_checkpoint(path, Checkpoint(kind="sovits", version=version, config=config, state=state, info={}))
        return path

    return save


@pytest.fixture
def base(base_of) -> Path:
    return base_of("v4")


def load_voice(path: Path, base: Path | None = None) -> FlowMatchingSoVITS:
    """Return a file as a model that speaks."""
    file = open_checkpoint(path)
    state = file.state
    if base is not None:
        file = open_checkpoint(base)
        state = lora.merge(file.state, state)
    model = FlowMatchingSoVITS.from_config(recipe_of(file))
    model.load_state_dict(state)
    return model.eval().fold_weight_norm()


@pytest.fixture
def load():
    return load_voice


class Folder:
    """A training-set folder that a test fills."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.data, self.model = config["data"], config["model"]
        self.random = np.random.default_rng(3)
        (path / WAVE_FOLDER).mkdir(parents=True)
        (path / TEXT_FILE).touch()
        (path / CODES_FILE).write_text("item_name\tsemantic_audio\n")

    def add(self, name: str, seconds: float) -> None:
        rate = self.data["sampling_rate"]
        time = np.arange(int(seconds * rate)) / rate
        sound = 0.3 * np.sin(2 * np.pi * self.random.uniform(100, 300) * time)
        sound += self.random.normal(0, 0.02, len(time))
        soundfile.write(self.path / WAVE_FOLDER / name, sound, rate)
        with (self.path / TEXT_FILE).open("a", encoding="utf-8") as file:
            file.write(f"{name}\tHH AH0 L OW1 .\tNone\thello.\n")
        codes = self.random.integers(0, self.model["codebook_bins"], len(time) // self.data["hop_length"] // 2)
        with (self.path / CODES_FILE).open("a", encoding="utf-8") as file:
            file.write(f"{name}\t{' '.join(map(str, codes))}\n")

    def use_features(self) -> None:
        """Content features in place of tokens, a frame short as they are now and then."""
        (self.path / CODES_FILE).unlink()
        (self.path / SSL_FOLDER).mkdir()
        for wave in (self.path / WAVE_FOLDER).iterdir():
            frames = soundfile.info(wave).frames // self.data["hop_length"] - 1
            features = torch.from_numpy(self.random.normal(size=(1, self.model["ssl_dim"], frames)))
            torch.save(features.half(), self.path / SSL_FOLDER / f"{wave.name}.pt")


@pytest.fixture
def folder(tiny, tmp_path) -> Folder:
    """Three usable recordings."""
    folder = Folder(tmp_path / "set", tiny)
    for i, seconds in enumerate((0.8, 1.1, 0.9)):
        folder.add(f"{i}.wav", seconds)
    return folder


@pytest.fixture
def plan(folder, base, tmp_path) -> FlowMatchingTrainingConfig:
    """Two epochs of three updates of a LoRA."""
    return FlowMatchingTrainingConfig(
        "v4",
        folder.path,
        tmp_path / "out",
        epochs=2,
        batch_size=4,
        save_every_epoch=1,
        base=base,
        precision="fp32",
        lora_rank=4,
        train=TINY["train"],
    )


class Events(list[dict[str, Any]]):
    def __call__(self, event: str, /, **fields: object) -> None:
        self.append({"event": event, **fields})

    def of(self, kind):
        return [event for event in self if event["event"] == kind]


class Runner:
    """Runs plans, whole or stopped."""

    def __call__(self, plan: FlowMatchingTrainingConfig, *, stop_after: int | None = None, **changes: Any):
        """(training, events, whether it came to its end)."""
        events = Events()
        stop = threading.Event() if stop_after is None else StopAfter(stop_after)
        training = FlowMatchingTrainer(replace(plan, **changes), events, stop)
        finished = training.fit()
        if finished:
            training.finish()
        return training, events, finished

    @staticmethod
    def metrics(output: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def run() -> Runner:
    return Runner()
