"""What someone has who wants to import a voice: official weights in miniature, checkpoints, and a recording."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tiny_experiment import GPT, RATE, speech_like

from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.checkpoints.catalog import find_part
from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint
from GPT_SoVITS.checkpoints.official_files import write_official
from GPT_SoVITS.configs import merge_config
from GPT_SoVITS.flow_matching.lora import inject, lora_state
from GPT_SoVITS.flow_matching.model import FlowMatchingSoVITS
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.text.symbols import symbols
from GPT_SoVITS.vocoders.hifigan import HiFiGAN
from GPT_SoVITS.vocoders.sizes import VocoderSizes

SAID = "你好世界。"
TINY_VOCODER = VocoderSizes(
    mels=12,
    width=32,
    rates=(10, 6, 2, 2, 2),  # 480 samples a frame, as v4 has them
    kernels=(20, 12, 4, 4, 4),
    block_kernels=(3,),
    block_dilations=((1, 3, 5),),
)


@dataclass(frozen=True)
class Home:
    """A data folder with official weights, and beside it what a user of the original brings."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def gpt(self) -> Path:
        return self.folder / "bob-e15.ckpt"

    @property
    def sovits(self) -> Path:
        return self.folder / "bob_e8_s96.pth"

    @property
    def take(self) -> Path:
        return self.folder / "take.wav"

    def arguments(self, name: str = "bob", **values: Any) -> list[str]:
        """Of `main.py`; an option that is None is left out."""
        options = {
            "gpt": self.gpt,
            "sovits": self.sovits,
            "prompt": self.take,
            "text": SAID,
            "language": "zh",
            **values,
        }
        pairs = [(f"--{option}", str(value)) for option, value in options.items() if value is not None]
        return ["voice", "import", name, *(word for pair in pairs for word in pair)]

    def files(self) -> dict[str, str]:
        """Every file in the storage and the sum of its bytes."""
        storage = self.data / "storage"
        return {
            str(path.relative_to(storage)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(storage.rglob("*"))
            if path.is_file()
        }

    def rows(self, table: str) -> list[dict[str, Any]]:
        with sqlite3.connect(self.data / "sovitsd.sqlite3") as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(f"SELECT * FROM {table} ORDER BY id")]

    def everything(self) -> tuple[Any, ...]:
        return self.files(), self.rows("checkpoints"), self.rows("voices")


def write_home(folder: Path, models: Path, version: str = "v2") -> Home:
    """Official files of a voice and a recording of it, made on top of the weights in `models`."""
    home = Home(folder)
    shutil.copytree(models, home.data / "models", copy_function=os.link)
    write_gpt(home.gpt, version)
    base = open_checkpoint(find_part(models, "sovits", version))
    state = tiny_lora(base) if version == "v4" else base.state
    write_official(home.sovits, Checkpoint("sovits", version, base.config, state, {"epoch": 8, "step": 96}))
    if version == "v4":
        torch.save(HiFiGAN(TINY_VOCODER).state_dict(), home.data / "models" / "gsv-v4-pretrained" / "vocoder.pth")
    write_wav(home.take, speech_like(3.2, seed=1), RATE)
    return home


def write_gpt(path: Path, version: str, tokens: int = 24, seed: int = 7) -> None:
    """With the codebook of the family's SoVITS models."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": tokens + 1, "EOS": tokens, "phoneme_vocab_size": len(symbols(version))}
    config = merge_config(GPT, {"model": sizes})
    write_official(
        path, Checkpoint("gpt", version, config, Text2Semantic.from_config(config).state_dict(), {"epoch": 15})
    )


def tiny_lora(base: Checkpoint) -> dict[str, torch.Tensor]:
    torch.manual_seed(8)
    model = FlowMatchingSoVITS.from_config(base.config)
    model.load_state_dict({name: tensor.float() for name, tensor in base.state.items()})
    return {name: tensor + 0.01 for name, tensor in lora_state(inject(model, 4)).items()}
