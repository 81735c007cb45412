"""The trainer: one training a job, in a process of its own, which reports its progress and ends with its job."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from common.versions import FLOW_MATCHING_VERSIONS
from core.errors import InvalidRequest, JobCancelled
from core.experiments.named_weights import names_default
from core.jobs.job import Job
from core.jobs.roles import TRAINER
from core.stages.outputs import TrainingOutputs
from core.stages.run_payload import StageRunPayload
from GPT_SoVITS.checkpoints.catalog import BASE_FOLDER
from GPT_SoVITS.checkpoints.codebook_fingerprint import read_codebook_fingerprint
from roles.preprocessing.model_files import base_model, is_official
from roles.runtime.role import JobContext
from roles.stages.stage_role import StageRole
from roles.stages.stage_run import StageFunction, StageRun
from roles.training.checkpoint_preview import test_inference
from roles.training.control import Paused
from roles.training.train import TrainingSettings, train


def sovits_train(run: StageRun) -> TrainingOutputs:
    """Train the SoVITS model, of v3 and v4 an adapter (LoRA).

    Raises InvalidRequest when the base has another codebook than the one that the semantic tokens were made with.
    """
    generator = base_model(run, "sovits", run.config)
    if not is_official(run.experiment):
        check_nano_tokens(run, generator)
    elif (named := run.outputs["semantic_token"]["pretrained_s2G"]) != run.config["pretrained_s2G"]:
        # Loads torch into a process that otherwise only waits; rare enough.
        from GPT_SoVITS.sovits.tokens import SemanticTokens

        _check_fingerprint(run, generator, SemanticTokens.load(generator).fingerprint, named)
    settings: TrainingSettings = {"base": str(generator), "grad_ckpt": run.config["grad_ckpt"]}
    if not is_official(run.experiment):  # its recipe has rates of its own, and no discriminator
        return train(run, kind="sovits", settings=settings)
    settings["text_low_lr_rate"] = run.config["text_low_lr_rate"]
    if run.experiment.version in FLOW_MATCHING_VERSIONS:
        settings["lora_rank"] = run.config["lora_rank"]
        return train(run, kind="sovits", trainer="flow_matching", settings=settings)
    settings["base_discriminator"] = str(base_model(run, "discriminator", run.config))
    return train(run, kind="sovits", settings=settings)


def gpt_train(run: StageRun) -> TrainingOutputs:
    """Train the GPT model.

    Raises InvalidRequest when the base knows other semantic tokens than those of the experiment.
    """
    if not is_official(run.experiment) and names_default(run.config["pretrained_s1"]):
        check_nano_tokens(run, base_model(run, "sovits", {}))  # the two parts of the base were made together
    return train(run, kind="gpt", settings={"base": str(base_model(run, "gpt", run.config)), "dpo": run.config["dpo"]})


def check_nano_tokens(run: StageRun, sovits: Path) -> None:
    """Raise InvalidRequest where the experiment's semantic tokens mean something else in a SoVITS of nano.

    The bundled base may be another one than when they were made: it comes with each version of the product.
    """
    named = run.outputs["semantic_token"]["pretrained_s2G"]
    _check_fingerprint(run, sovits, read_codebook_fingerprint(sovits), named)


def _check_fingerprint(run: StageRun, sovits: Path, fingerprint: str, named: str) -> None:
    if fingerprint == run.outputs["semantic_token"]["codebook"]:
        return
    if sovits.is_relative_to(BASE_FOLDER):
        raise InvalidRequest(
            f"The semantic tokens of {run.experiment.exp_name} were made with another base of nano than that of this "
            "version.",
            hint="Run semantic_token again, and both trainings after it; voices that were trained before speak as they "
            "did.",
        )
    raise InvalidRequest(
        f"{sovits.name} has another codebook than the file that the semantic tokens of this experiment "
        f"were made with ({named or 'the official one'}).",
        hint="Begin from that file, or from a model that was fine-tuned from it.",
    )


class Trainer(StageRole):
    """Train one model a job, or let the trained ones speak."""

    name = TRAINER
    stages: ClassVar[dict[str, StageFunction]] = {
        "sovits_train": sovits_train,
        "gpt_train": gpt_train,
        "test_inference": test_inference,
    }

    def discard_state(self, run: StageRun) -> bool:
        """Delete the state that a completed training would have continued from; it is larger than its checkpoints."""
        folder = run.folder / run.own_folder_name
        states = [path for path in folder.glob("resume.pt*") if path.is_file()]
        for path in states:
            path.unlink(missing_ok=True)
        return bool(states)

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        """Run a stage. One that pauses ends its job as cancelled; another job continues from what it saved."""
        try:
            return super().run(job, context)
        except Paused as paused:
            payload = StageRunPayload.model_validate(job.payload)
            pause = self.services.experiments.runs.pause
            self.services.call(pause, payload.experiment_id, payload.stage, payload.run)
            raise JobCancelled(paused.message) from None
