"""The preprocessor: the stages between a recording and a training, one a job."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from core.jobs.file_jobs import KIND_FIELD
from core.jobs.job import Job
from core.jobs.roles import PREPROCESSOR
from core.stages.outputs import AsrOutputs, StageOutputs
from roles.preprocessing.features import hubert_feature, semantic_token, speaker_vector, text_feature
from roles.preprocessing.segments import asr, audio_slice, convert, denoise
from roles.preprocessing.stage_cache import run_cached
from roles.runtime.file_job import FileJobRun
from roles.runtime.role import JobContext
from roles.stages.stage_role import StageRole
from roles.stages.stage_run import StageFunction, StageRun
from roles.voices.check_consent import check_speaker


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

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        """Run a stage, or a file job that waited here before the role `files` existed."""
        if KIND_FIELD in job.payload:
            from roles.files import run_file_job  # only an upgraded installation needs it

            return run_file_job(FileJobRun(context, self.models))
        return super().run(job, context)

    def perform(self, run: StageRun) -> StageOutputs:
        """Run the stage unless its result is there already.

        Raises InvalidRequest when the speaker is another one than that of a spoken consent.
        """
        outputs = run_cached(run, self.stages[run.stage])
        if run.stage == "asr" and run.experiment.consent_id:
            services = self.services
            consent = services.call(services.records.consents.get, run.experiment.consent_id)
            if consent.recording_key:
                prompt = cast(AsrOutputs, outputs)["prompt"]["audio"]
                check_speaker(
                    run, run.folder.joinpath(*prompt.split("/")[-2:]), services.storage.path(consent.recording_key)
                )
        return outputs
