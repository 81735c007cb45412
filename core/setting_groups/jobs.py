"""Settings of jobs: how many at once, for how long, how often again, and when what they leave is deleted."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

from core.setting_values import OptionalInteger


class JobSettings(BaseSettings):
    """Limits, times and retention."""

    local_max_workers: OptionalInteger = Field(None, ge=0, le=64)
    """Trainings at once on the CPU and on each GPU, where the two settings for these are not set."""
    max_training_concurrent_gpu: int = Field(1, ge=0, le=64)
    """Trainings at once on each GPU; more wait in the queue. POST /api/v1/resources/config changes it at run time."""
    max_inference_concurrent_gpu: int = Field(3, ge=0, le=64)
    """Utterances of the model service's tasks that are spoken at once on each GPU; live speech is limited by slots."""
    max_training_concurrent_cpu: int = Field(2, ge=0, le=64)
    """Trainings at once on the CPU of a host."""
    max_inference_concurrent_cpu: int = Field(4, ge=0, le=64)
    """The same on the CPU of a host."""
    cpu_training_max_batch_size: int = Field(8, ge=1)
    """Segments per step of a training on a CPU at most, whatever was asked for."""
    cpu_training_max_workers_ratio: float = Field(0.5, gt=0, le=1)
    """Share of the cores that the loading processes of a training on a CPU may use; today each loads in one thread."""
    cpu_training_pytorch_threads_ratio: float = Field(0.5, gt=0, le=1)
    """Share of its cores that a training on a CPU computes with."""
    worker_retry_attempts: int = Field(3, ge=1, le=100)
    """Runs of a failing job before it is a dead letter."""
    worker_retry_delay_seconds: float = Field(5.0, ge=0)
    """Delay before the first retry; it grows threefold each time, up to 900 s."""
    result_expiry_seconds: int = Field(86_400, ge=60)
    """How long results of speech requests are kept."""
    synthesis_timeout_seconds: float = Field(600.0, gt=0)
    """How long a caller of a speech request is kept waiting for the next audio; a long text may take longer in all."""
    lease_seconds: float = Field(15.0, ge=1)
    """A worker that does not renew its claim for so long has lost its job."""
    drain_speech_seconds: float = Field(30.0, ge=0)
    """How long speech in progress may take after SIGTERM."""
    drain_training_seconds: float = Field(120.0, ge=0)
    """How long a training may take to save its checkpoint after SIGTERM."""
    training_state_minutes: float = Field(10.0, ge=0)
    """Minutes after which a training saves its state within a long epoch, too, to go on from it after a crash; 0 saves
    it only after each epoch. The last one is deleted when the training is done."""
    evaluation_sentences: int = Field(3, ge=0, le=20)
    """Sentences that each checkpoint of a training speaks, to find the best one and to be heard meanwhile; 0 takes the
    last one unheard."""
    task_retention_days: float = Field(30.0, ge=0)
    """Days after which a task that has ended is deleted with its files; voices stay; 0 keeps it."""
    experiment_retention_days: float = Field(0.0, ge=0)
    """The same for experiments of expert mode, counted from their last change."""
    disk_budget_gb: float = Field(0.0, ge=0)
    """Artefacts above this many GB: the tasks and experiments that ended longest ago are deleted; 0: no limit."""
    log_retention_days: float = Field(7.0, ge=0)
    """Days that logs of other jobs are kept; those of a task or an experiment go with it; 0 keeps them."""

    default_train_priority: int = Field(5, ge=1, le=10)
    """Of a training of the model service that names none; 10 runs first."""
    default_inference_priority: int = Field(3, ge=1, le=10)
    """Of an inference of the model service that names none."""
    max_waiting_seconds: float = Field(3600.0, ge=0)
    """How long a training of the model service may wait for its turn; then it fails. 0: without limit."""
    result_upload_format: Literal["zip", "files"] = "zip"
    """What `upload_url` receives: one ZIP by PUT, or each file in a multipart form of its own by POST."""

    @model_validator(mode="before")
    @classmethod
    def _set_both_limits(cls, values: dict[str, Any]) -> dict[str, Any]:
        if (workers := values.get("local_max_workers")) not in (None, ""):
            for name in ("max_training_concurrent_gpu", "max_training_concurrent_cpu"):
                values.setdefault(name, workers)
        return values
