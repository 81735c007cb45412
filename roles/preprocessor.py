"""The preprocessor: from an uploaded recording to everything that the trainings read, a stage a job; and data sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from core.errors import InvalidRequest
from core.jobs.job import Job
from core.jobs.roles import PREPROCESSOR
from roles.datasets.make_version import make_version
from roles.datasets.report import make_report
from roles.preprocessing.features import hubert_feature, semantic_token, speaker_vector, text_feature
from roles.preprocessing.segments import asr, audio_slice, convert, denoise
from roles.preprocessing.stage_cache import unless_done_before
from roles.runtime.errors import model_errors
from roles.runtime.role import JobContext
from roles.runtime.services import Services
from roles.runtime.storage_errors import storage_faults
from roles.stages.model_cache import WarmModels
from roles.stages.stage_role import StageFunction, StageRole, StageRun
from roles.voices.import_job import import_voice


@dataclass(frozen=True, slots=True)
class WorkRun:
    """One run of a job that is no stage."""

    job: Job
    """Its payload names the kind of work under `work`."""
    context: JobContext
    services: Services
    models: WarmModels
    """What stays loaded from one job to the next."""


WorkFunction = Callable[[WorkRun], dict[str, Any]]


class Preprocessor(StageRole):
    """Convert, slice, denoise, transcribe, and extract features."""

    name = PREPROCESSOR
    stages: ClassVar[dict[str, StageFunction]] = {
        "convert": convert,
        "audio_slice": audio_slice,
        "denoise": denoise,
        "asr": asr,
        "text_feature": text_feature,
        "hubert_feature": hubert_feature,
        "speaker_vector": speaker_vector,
        "semantic_token": semantic_token,
    }
    works: ClassVar[dict[str, WorkFunction]] = {
        "dataset": make_version,
        "dataset_report": make_report,
        "import_voice": import_voice,
    }
    """Jobs of other kinds, by what their payload calls `work`."""

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        if "work" not in job.payload:
            return super().run(job, context)
        work = self.works.get(job.payload["work"])
        if work is None:
            raise InvalidRequest(f"No work is named {job.payload['work']!r}; there are {', '.join(self.works)}.")
        with model_errors(), storage_faults(self.services.storage.root):
            return work(WorkRun(job, context, self.services, self.models))

    def perform(self, run: StageRun) -> dict[str, Any]:
        return unless_done_before(run, self.stages[run.stage])
