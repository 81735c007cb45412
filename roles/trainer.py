"""The trainer: one training a job, in a process of its own, which reports its progress and ends with its job."""

from __future__ import annotations

from typing import Any, ClassVar

from common.versions import FLOW_MATCHING_VERSIONS
from core.errors import InvalidRequest, JobCancelled
from core.jobs.job import Job
from core.jobs.roles import TRAINER
from core.stages.outputs import TrainingOutputs
from core.stages.run_payload import StageRunPayload
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
    generator, tokens = base_model(run, "sovits", run.config), run.outputs["semantic_token"]
    if tokens["pretrained_s2G"] != run.config["pretrained_s2G"]:
        # Loads torch into a process that otherwise only waits; rare enough.
        from GPT_SoVITS.sovits.tokens import SemanticTokens

        if SemanticTokens.load(generator).fingerprint != tokens["codebook"]:
            raise InvalidRequest(
                f"{generator.name} has another codebook than the file that the semantic tokens of this experiment "
                f"were made with ({tokens['pretrained_s2G'] or 'the official one'}).",
                hint="Begin from that file, or from a model that was fine-tuned from it.",
            )
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
    """Train the GPT model."""
    return train(run, kind="gpt", settings={"base": str(base_model(run, "gpt", run.config)), "dpo": run.config["dpo"]})


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
