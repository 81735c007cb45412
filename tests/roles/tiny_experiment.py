"""A folder of official weights in miniature, and an experiment whose stages run on it without a queue."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from core.records import ExperimentRecord, ExperimentStatus
from core.settings import read_settings
from core.stages.outputs import CompletedOutputs
from core.stages.parameter_schema import parse_parameters
from core.storage import Storage
from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.checkpoints.catalog import FILES, files_of
from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import save_checkpoint
from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.dataset.folder import Annotation, write_annotations
from GPT_SoVITS.features.eres2net import ERes2NetV2, ERes2NetV2Sizes
from GPT_SoVITS.flow_matching.model import FlowMatchingSoVITS
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.sovits.discriminator import Discriminator
from GPT_SoVITS.sovits.model import SoVITS
from GPT_SoVITS.text.symbols import symbols
from roles.preprocessor import Preprocessor
from roles.stages.stage_run import StageRun
from roles.trainer import FLOW_MATCHING_VERSIONS, Trainer

RATE = 32_000
TEXTS = (
    ("zh", "你好世界，今天天气很好。"),
    ("zh", "我们一起去公园散步吧。"),
    ("en", "The number is not in service."),
    ("en", "Hello again, and good morning."),
)
HUBERT: dict[str, Any] = {
    "conv_dim": [16] * 7,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_conv_pos_embedding_groups": 4,
    "num_conv_pos_embeddings": 16,
    "num_hidden_layers": 2,
}
ROBERTA: dict[str, Any] = {
    "hidden_size": 1024,  # what the GPT reads
    "intermediate_size": 16,
    "num_attention_heads": 16,
    "num_hidden_layers": 3,
    "vocab_size": 8,
    "max_position_embeddings": 64,
}
SPEAKER = ERes2NetV2Sizes(channels=8, blocks=(1, 1, 1, 1), unused_width=4)
SOVITS: dict[str, dict[str, Any]] = {
    "model": {
        "ssl_dim": HUBERT["hidden_size"],
        "sv_dim": 2560,
        "codebook_bins": 24,
        "inter_channels": 8,
        "hidden_channels": 8,
        "filter_channels": 16,
        "n_layers": 2,
        "gin_channels": 8,
        "mrte_hidden": 8,
        "ref_style_hidden": 8,
        "posterior_layers": 2,
        "flow_couplings": 2,
        "flow_layers": 1,
        "upsample_initial_channel": 32,
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 3, 5]],
    },
    "discriminator": {
        "periods": [2],
        "waveform_channels": [2, 2, 4, 4, 4, 4],
        "waveform_groups": [1, 1, 1, 1, 1, 1],
        "period_channels": [2, 2, 4, 4, 4],
    },
}
FLOW = {
    "data": {"mel": {"n_mels": 12}},
    "model": {
        **{name: SOVITS["model"][name] for name in ("ssl_dim", "codebook_bins", "n_layers", "ref_style_hidden")},
        **{name: SOVITS["model"][name] for name in ("inter_channels", "hidden_channels", "filter_channels")},
        "gin_channels": 16,
        "mrte_hidden": 16,
        "mrte_heads": 2,
        "bridge_channels": 16,
        "wns1_layers": 2,
        "mel": 12,
        "dit": {"dim": 32, "depth": 2, "heads": 2, "dim_head": 16, "mel_dim": 12, "text_dim": 16, "conv_layers": 1},
    },
}
GPT = {
    "model": {
        "vocab_size": 1025,
        "embedding_dim": 32,
        "hidden_dim": 32,
        "head": 2,
        "n_layer": 2,
        "dropout": 0,
        "EOS": 1024,
    }
}


def cached_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that gives a folder with the weights of a version in miniature, written once."""

    @cache
    def write(version: str) -> Path:
        folder = tmp_path_factory.mktemp(version)
        write_models(folder, version)
        return folder

    return write


def write_models(folder: Path, version: str) -> None:
    """Every part that a training of `version` needs, under its official name, with random weights."""
    from transformers.models.bert.modeling_bert import BertConfig, BertModel
    from transformers.models.hubert.modeling_hubert import HubertConfig, HubertModel

    torch.manual_seed(5)
    hubert, roberta = (_place(folder, part, version).parent for part in ("hubert", "roberta"))
    _write_hub_folder(hubert, HUBERT, HubertModel(HubertConfig(**HUBERT)))
    _write_hub_folder(roberta, ROBERTA, BertModel(BertConfig(**ROBERTA)))
    (roberta / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n你\n好\n，\n。\n", encoding="utf-8")
    torch.save(ERes2NetV2(SPEAKER).state_dict(), _place(folder, "speaker_vector", version))
    config = merge_config(GPT, {"model": {"phoneme_vocab_size": len(symbols(version))}})
    gpt = {"weight": _halved(Text2Semantic.from_config(config)), "config": config, "info": "tiny"}
    torch.save(gpt, _place(folder, "gpt", version))
    if version in FLOW_MATCHING_VERSIONS:
        config = merge_config(load_config(version), FLOW)
        state = FlowMatchingSoVITS.from_config(config).state_dict()
        save_checkpoint(_place(folder, "sovits", version), Checkpoint("sovits", version, config, state))
        return
    config = merge_config(load_config(version), SOVITS)
    state = SoVITS.from_config(config).state_dict()
    save_checkpoint(_place(folder, "sovits", version), Checkpoint("sovits", version, config, state))
    state = Discriminator.from_config(config).state_dict()
    save_checkpoint(_place(folder, "discriminator", version), Checkpoint("discriminator", version, config, state))


def _place(folder: Path, part: str, version: str) -> Path:
    """Return the first file of a part, in a folder that exists."""
    path = folder / next(path for path, file in FILES.items() if file in files_of(part, version))
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_hub_folder(folder: Path, config: dict[str, Any], model: torch.nn.Module) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(_halved(model), folder / "pytorch_model.bin")


def _halved(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in model.state_dict().items()
    }


def speech_like(seconds: float, seed: int) -> np.ndarray:
    """(N,) at 32 kHz: a buzz of changing pitch in syllables, with a breath of noise."""
    generator = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * time + seed)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    buzz = sum(np.sin(k * phase) / k for k in range(1, 12))
    syllables = np.clip(np.sin(2 * np.pi * 2 * time) + 0.4, 0, None)
    return (0.15 * buzz * syllables + 0.004 * generator.standard_normal(len(time))).astype(np.float32)


class TinyExperiment:
    """An experiment of one version in `folder`, whose recording is sliced and transcribed already."""

    def __init__(self, folder: Path, version: str, *, task_id: str | None = None) -> None:
        self.data = folder
        self.models = folder / "models"
        self.storage = Storage(folder / "storage")
        self.experiment = ExperimentRecord(
            id="exp-tiny",
            exp_name="tiny",
            version=version,
            language="zh",
            gpu_numbers="0",
            is_half=True,
            audio_file_id="file-tiny",
            task_id=task_id,
            priority=5,
            parameters={},
            status=ExperimentStatus.RUNNING,
            voice_id=None,
            created_at=0.0,
            updated_at=0.0,
        )
        self.outputs: CompletedOutputs = {}
        self.folder = self.storage.folder("experiments/exp-tiny")

    def record(self) -> None:
        """Write what audio_slice and asr would leave."""
        segments = self.folder / "segments"
        segments.mkdir()
        names = [f"recording.wav_{i * 64000:010d}_{(i + 1) * 64000:010d}.wav" for i in range(len(TEXTS))]
        for i, name in enumerate(names):
            write_wav(segments / name, speech_like(1.6 + 0.1 * i, seed=i), RATE)
        lines = [
            Annotation(name, "speaker", language, text) for name, (language, text) in zip(names, TEXTS, strict=True)
        ]
        write_annotations(self.folder / "transcripts.list", lines)

    def set_parameters(self, stage: str, **values: Any) -> None:
        self.experiment = replace(self.experiment, parameters={**self.experiment.parameters, stage: values})

    def run(self, stage: str) -> dict[str, Any]:
        """Run one stage for real, without records or a queue."""
        functions = {**Preprocessor.stages, **Trainer.stages}
        outputs = cast(dict[str, Any], functions[stage](self.stage_run(stage)))
        cast(dict[str, Any], self.outputs)[stage] = outputs
        return outputs

    def stage_run(self, stage: str) -> StageRun:
        """Return the run that the function of a stage gets."""
        config = parse_parameters(stage, self.experiment.parameters.get(stage, {}))
        return StageRun(self.experiment, stage, 1, config, self.outputs, self.folder, self._services(), self._context())

    def _services(self) -> Any:
        return SimpleNamespace(
            settings=read_settings(data_path=self.data, evaluation_sentences=0),
            storage=self.storage,
            device="cpu",
            threads=1,
            call=lambda *arguments, **named: None,
            experiments=SimpleNamespace(
                runs=SimpleNamespace(update_progress=None, update_previews=None, requested_control=None)
            ),
            records=SimpleNamespace(
                checkpoints=SimpleNamespace(create=None, get=None, add_metrics=None), files=SimpleNamespace(get=None)
            ),
        )

    def _context(self) -> Any:
        return SimpleNamespace(
            check=lambda: None,
            confirm_lease=lambda: None,
            lease=SimpleNamespace(token=1),
            counts=defaultdict(float),
            progress=lambda *arguments, **named: None,
            event=lambda *arguments: None,
            on_stop=lambda stop: None,
            draining=threading.Event(),
            cut_off=threading.Event(),
        )
