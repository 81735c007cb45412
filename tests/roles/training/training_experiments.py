"""An experiment whose preparing stages have run, ready to train a tiny GPT; real records, real queue, real programs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gpt_training_set import write_gpt_training_set
from tiny_experiment import GPT

from core.experiments.requests import ExperimentRequest
from core.jobs.job import Event, Job
from core.records import NewFileRecord, StageRecord, upgrade
from core.stages.status import StageStatus
from GPT_SoVITS.checkpoints.catalog import FILES, files_of
from GPT_SoVITS.configs import merge_config
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.text.symbols import symbols
from roles.runtime.services import WorkerServices

VERSION = "v2"
STAGE = "gpt_train"
PREPARED: dict[str, dict[str, Any]] = {
    "convert": {},
    "audio_slice": {},
    "denoise": {"skipped": True},
    "asr": {"prompt": {"audio": "prompts/prompt.wav", "text": "Hello again.", "language": "en"}},
    "text_feature": {"transcripts": 12},
    "hubert_feature": {},
    "semantic_token": {"tokens": 400, "pretrained_s2G": "", "codebook": "tiny"},
}


class TrainingExperiments:
    """What a test asks of its experiments."""

    def __init__(self, services: WorkerServices) -> None:
        self.services = services
        upgrade(services.settings.resolved_database_url)
        write_gpt(services.settings.data_path / "models")
        self.call(
            services.records.files.create,
            NewFileRecord(id="file-1", filename="a.wav", purpose="training", size_bytes=1, sha256="0" * 64),
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.services, name)

    def experiment(self, **options: Any) -> str:
        """Create an experiment that is preprocessed and return its id."""
        request = ExperimentRequest("tiny", "file-1", **{"version": VERSION, "language": "en", **options})
        record = self.call(self.experiments.create, request)
        self.call(self._complete, record.id, PREPARED)
        write_gpt_training_set(self.folder(record.id), VERSION)
        return str(record.id)

    def complete_sovits(self, exp_id: str) -> None:
        """Let the checkpoints of the GPT speak with a SoVITS model that is trained already."""
        outputs = {"checkpoint_id": "ckpt-s", "model_path": "checkpoints/ckpt-s.safetensors"}
        self.call(self._complete, exp_id, {"sovits_train": outputs})

    def folder(self, exp_id: str) -> Path:
        return self.storage.folder(f"experiments/{exp_id}")

    def train(self, exp_id: str, **parameters: Any) -> StageRecord:
        parameters = {"total_epoch": 3, "batch_size": 8, "save_every_epoch": 1, **parameters}
        return self.call(self.experiments.stages.run, exp_id, STAGE, parameters)

    def control(self, exp_id: str, action: str, **options: Any) -> StageRecord:
        return self.call(self.experiments.stages.control, exp_id, STAGE, action, **options)

    def record(self, exp_id: str) -> StageRecord:
        return self.call(self.records.stages.get, exp_id, STAGE)

    def end(self, run: StageRecord) -> Job:
        """Wait for the run's job to end and return it."""
        return self.call(self.events.wait, run.job_id, 250.0)

    def until(self, exp_id: str, seen: Callable[[Event], bool]) -> None:
        """Wait for such an event of an experiment."""
        self.call(self._until, exp_id, seen)

    def checkpoints(self, exp_id: str) -> list[Any]:
        """Return its GPT checkpoints by epoch."""
        page = self.call(partial(self.records.checkpoints.page, kind="gpt", exp_id=exp_id))
        return sorted(page.items, key=lambda checkpoint: checkpoint.epoch)

    def curve(self, exp_id: str, run: int = 1) -> bytes:
        return (self.folder(exp_id) / f"gpt_{run}" / "metrics.jsonl").read_bytes()

    async def _complete(self, exp_id: str, stages: Mapping[str, dict[str, Any]]) -> None:
        async with self.records.experiments.transaction(exp_id) as change:
            for stage, outputs in stages.items():
                change.set_stage(stage, status=StageStatus.COMPLETED, run=1, work_run=1, outputs=outputs)

    async def _until(self, exp_id: str, seen: Callable[[Event], bool]) -> None:
        events: AsyncIterator[Event] = self.events.watch(exp_id)
        async with asyncio.timeout(250):
            async for event in events:
                assert event.kind != "failed", event.data
                if seen(event):
                    return


def saved(epoch: int) -> Callable[[Event], bool]:
    """For `until`: the checkpoint of that epoch is there."""
    return lambda event: event.kind == "checkpoint" and event.data["epoch"] == epoch


def write_gpt(models: Path) -> None:
    """Write the official GPT of the version in miniature where it is looked for."""
    torch.manual_seed(5)
    config = merge_config(GPT, {"model": {"phoneme_vocab_size": len(symbols(VERSION))}})
    state = {name: tensor.half() for name, tensor in Text2Semantic.from_config(config).state_dict().items()}
    path = models / next(path for path, file in FILES.items() if file in files_of("gpt", VERSION))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weight": state, "config": config, "info": "tiny"}, path)
