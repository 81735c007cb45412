"""The trainer: each training in a process of its own, which reports its progress and dies with its job."""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path
from typing import Any, ClassVar

import orjson

from core.errors import InvalidRequest
from core.roles import TRAINER
from roles.preparing.features import BASE, SEED
from roles.preparing.official import base, is_official
from roles.stage_role import StageFunction, StageRole, StageRun
from roles.training_process import TrainingProcess

logger = logging.getLogger(__name__)

FLOW_MATCHING_VERSIONS = ("v3", "v4")
"""Trained by a program of their own."""


def sovits_train(run: StageRun) -> dict[str, Any]:
    """Train the SoVITS model from the base that the tokens were made with; v3 and v4 by an adapter (LoRA)."""
    if not is_official(run.experiment):  # it learns from nothing, so its recipe has rates of its own
        return _train(run, kind="sovits", settings={"base": str(run.folder / BASE), "base_discriminator": None})
    generator = base(run, "sovits", run.config)
    _check_tokens(run, generator)
    settings: dict[str, Any] = {
        "base": str(generator),
        "text_low_lr_rate": run.config["text_low_lr_rate"],
        "grad_ckpt": run.config["grad_ckpt"],
    }
    if run.experiment.version in FLOW_MATCHING_VERSIONS:
        settings["lora_rank"] = run.config["lora_rank"]
        return _train(run, kind="sovits", program="flow_matching", settings=settings)
    settings["base_discriminator"] = str(base(run, "discriminator", run.config))
    return _train(run, kind="sovits", settings=settings)


def gpt_train(run: StageRun) -> dict[str, Any]:
    """Train the GPT model, from official weights where the version has them."""
    begin = str(base(run, "gpt", run.config)) if is_official(run.experiment) else None
    return _train(run, kind="gpt", settings={"base": begin, "dpo": run.config["dpo"]})


class Trainer(StageRole):
    """Train one model a job."""

    name = TRAINER
    stages: ClassVar[dict[str, StageFunction]] = {"sovits_train": sovits_train, "gpt_train": gpt_train}


def _check_tokens(run: StageRun, generator: Path) -> None:
    """Refuse a base in which the tokens of this experiment mean something else."""
    made = run.outputs["semantic_token"]
    if made["pretrained_s2G"] == run.config["pretrained_s2G"]:
        return
    # Loads torch into a process that otherwise only waits; rare enough.
    from GPT_SoVITS.features.tokens import SemanticTokens

    if SemanticTokens.load(generator).fingerprint != made["codebook"]:
        raise InvalidRequest(
            f"{generator.name} has another codebook than the file that the semantic tokens of this experiment "
            f"were made with ({made['pretrained_s2G'] or 'the official one'}).",
            hint="Begin from that file, or from a model that was fine-tuned from it.",
        )


def _train(run: StageRun, *, kind: str, settings: dict[str, Any], program: str = "") -> dict[str, Any]:
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
    done = TrainingProcess(f"GPT_SoVITS.{program or kind}.train", output / "run.json", run).run_to_end()
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
        shutil.copyfile(trained, temporary)
        storage.publish(temporary, key)
    stored = storage.path(key)
    with stored.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    run.services.call(
        run.services.records.create_checkpoint,
        checkpoint_id,
        kind=kind,
        version=run.experiment.version,
        name=f"{run.experiment.exp_name}-{kind}",
        sha256=sha256,
        size_bytes=stored.stat().st_size,
        experiment_id=run.experiment.id,
        epoch=run.config["total_epoch"],
        metrics=metrics,
    )
    return {"checkpoint_id": checkpoint_id, "model_path": key, "metrics": metrics}
