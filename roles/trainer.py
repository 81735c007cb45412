"""The trainer: each training in a process of its own, which reports its progress and dies with its job."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any, ClassVar

import orjson

from core.roles import TRAINER
from roles.preparing.features import BASE, SEED
from roles.stage_role import StageFunction, StageRole, StageRun
from roles.training_process import TrainingProcess

logger = logging.getLogger(__name__)


def sovits_train(run: StageRun) -> dict[str, Any]:
    """Train the SoVITS model from the base that the tokens were made with."""
    settings: dict[str, Any] = {"base": str(run.folder / BASE), "base_discriminator": None}
    if run.experiment.version != "nano":  # which learns from nothing, so its recipe has rates of its own
        settings["text_low_lr_rate"] = run.config["text_low_lr_rate"]
    return _train(run, kind="sovits", settings=settings)


def gpt_train(run: StageRun) -> dict[str, Any]:
    """Train the GPT model."""
    return _train(run, kind="gpt", settings={"base": None, "dpo": run.config["dpo"]})


class Trainer(StageRole):
    """Train one model a job."""

    name = TRAINER
    stages: ClassVar[dict[str, StageFunction]] = {"sovits_train": sovits_train, "gpt_train": gpt_train}


def _train(run: StageRun, *, kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    output = run.folder / f"{kind}_{run.run}"
    output.mkdir(parents=True, exist_ok=True)
    plan = {
        "version": run.experiment.version,
        "data": str(run.folder),
        "output": str(output),
        "epochs": run.config["total_epoch"],
        "batch_size": run.config["batch_size"],
        "save_every_epoch": run.config["save_every_epoch"],
        "seed": SEED,
        # nano's products are too small to share: a second thread waits more than it works, above all on busy cores.
        "threads": 1 if run.experiment.version == "nano" else run.services.training_threads,
        "device": run.services.device,
        **settings,
    }
    (output / "run.json").write_bytes(orjson.dumps(plan, option=orjson.OPT_INDENT_2))
    done = TrainingProcess(f"GPT_SoVITS.{kind}.train", output / "run.json", run).run_to_end()
    return _keep(run, kind, Path(done["checkpoint"]), done["metrics"])


def _keep(run: StageRun, kind: str, trained: Path, metrics: dict[str, Any]) -> dict[str, Any]:
    """Publish the checkpoint under an id made from the run, so that a repeated stage writes the same one."""
    identity = hashlib.sha256(f"{run.experiment.id}/{run.stage}/{run.run}".encode()).hexdigest()[:20]
    checkpoint_id = f"ckpt-{identity}"
    key = f"checkpoints/{checkpoint_id}.safetensors"
    storage = run.services.storage
    run.context.check()
    if not storage.exists(key):
        temporary = storage.new_temporary()
        temporary.write_bytes(trained.read_bytes())
        storage.publish(temporary, key)
    stored = storage.path(key)
    run.services.call(
        run.services.records.create_checkpoint,
        checkpoint_id,
        kind=kind,
        version=run.experiment.version,
        name=f"{run.experiment.exp_name}-{kind}",
        sha256=hashlib.sha256(stored.read_bytes()).hexdigest(),
        size_bytes=stored.stat().st_size,
        experiment_id=run.experiment.id,
        epoch=run.config["total_epoch"],
        metrics=metrics,
    )
    return {"checkpoint_id": checkpoint_id, "model_path": key, "metrics": metrics}
