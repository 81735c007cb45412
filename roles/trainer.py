"""The trainer: each training in a process of its own, which reports its progress and dies with its job."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from core.errors import InvalidRequest, JobCancelled
from core.jobs.job import Job
from core.jobs.roles import TRAINER
from roles.preprocessing.official import base, is_official
from roles.runtime.role import JobContext
from roles.stages.stage_role import StageFunction, StageRole, StageRun
from roles.training.checkpoint_preview import test_inference
from roles.training.control import Paused
from roles.training.train import train

FLOW_MATCHING_VERSIONS = ("v3", "v4")
"""Trained by a program of their own."""


def sovits_train(run: StageRun) -> dict[str, Any]:
    """Train the SoVITS model from the base that the tokens were made with; v3 and v4 by an adapter (LoRA)."""
    generator = base(run, "sovits", run.config)
    _check_tokens(run, generator)
    if not is_official(run.experiment):  # its recipe has rates of its own, and no discriminator
        return train(run, kind="sovits", settings={"base": str(generator), "grad_ckpt": run.config["grad_ckpt"]})
    settings: dict[str, Any] = {
        "base": str(generator),
        "text_low_lr_rate": run.config["text_low_lr_rate"],
        "grad_ckpt": run.config["grad_ckpt"],
    }
    if run.experiment.version in FLOW_MATCHING_VERSIONS:
        settings["lora_rank"] = run.config["lora_rank"]
        return train(run, kind="sovits", program="flow_matching", settings=settings)
    settings["base_discriminator"] = str(base(run, "discriminator", run.config))
    return train(run, kind="sovits", settings=settings)


def gpt_train(run: StageRun) -> dict[str, Any]:
    """Train the GPT model from the version's own weights."""
    return train(run, kind="gpt", settings={"base": str(base(run, "gpt", run.config)), "dpo": run.config["dpo"]})


class Trainer(StageRole):
    """Train one model a job, or let the trained ones speak."""

    name = TRAINER
    stages: ClassVar[dict[str, StageFunction]] = {
        "sovits_train": sovits_train,
        "gpt_train": gpt_train,
        "test_inference": test_inference,
    }

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        """A run that pauses ends its job; another one goes on from what it saved."""
        try:
            return super().run(job, context)
        except Paused as paused:
            stage, run = job.payload["stage"], int(job.payload["run"])
            self.services.call(self.services.experiments.runs.pause, job.payload["experiment_id"], stage, run)
            raise JobCancelled(paused.message) from None


def _check_tokens(run: StageRun, generator: Path) -> None:
    """Refuse a base in which the tokens of this experiment mean something else."""
    made = run.outputs["semantic_token"]
    if made["pretrained_s2G"] == run.config["pretrained_s2G"]:
        return
    # Loads torch into a process that otherwise only waits; rare enough.
    from GPT_SoVITS.sovits.tokens import SemanticTokens

    if SemanticTokens.load(generator).fingerprint != made["codebook"]:
        raise InvalidRequest(
            f"{generator.name} has another codebook than the file that the semantic tokens of this experiment "
            f"were made with ({made['pretrained_s2G'] or 'the official one'}).",
            hint="Begin from that file, or from a model that was fine-tuned from it.",
        )
