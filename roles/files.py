"""The role `files`: results of speech, data sets and their reports, imports of voices, consents, proposed prompts."""

from __future__ import annotations

from typing import Any, Final

from core.datasets.jobs import DatasetReportPayload, DatasetVersionPayload, PhonemeCoveragePayload
from core.errors import InvalidRequest
from core.jobs.file_jobs import KIND_FIELD, FileJobKind, file_job_kind
from core.jobs.job import Job
from core.jobs.roles import FILES
from core.speech.dubbing_jobs import AssembleDubbingRequest, FitDubbingRequest, OpenDubbingRequest
from core.speech.inference_jobs import ArchiveRequest, AssembleRequest, OpenBatchRequest
from core.speech.result_uploads import ResultUploadRequest
from core.voices.consent_jobs import ConsentCheckRequest, SpeakerComparisonRequest
from core.voices.import_job import VoiceImportRequest
from core.voices.prompt_proposals import PromptProposalRequest
from roles.datasets.coverage import measure_coverage
from roles.datasets.make_version import make_version
from roles.datasets.report import make_report
from roles.runtime.errors import model_errors
from roles.runtime.file_job import FileJob, FileJobRun
from roles.runtime.model_cache import ModelCache
from roles.runtime.role import STOP_GRACE_SECONDS, JobContext
from roles.runtime.services import WorkerServices
from roles.runtime.storage_errors import storage_faults
from roles.speech.assemble import archive_batch, assemble, open_batch
from roles.speech.dubbing import assemble_dubbing, fit_dubbing, open_dubbing
from roles.speech.upload_results import send_results
from roles.voices.check_consent import check_consent, compare_speaker
from roles.voices.import_job import import_voice
from roles.voices.propose_prompts import propose_prompts

FILE_JOBS: Final[dict[FileJobKind, FileJob[Any]]] = {
    FileJobKind.ASSEMBLE: FileJob(AssembleRequest, assemble),
    FileJobKind.OPEN_BATCH: FileJob(OpenBatchRequest, open_batch),
    FileJobKind.ARCHIVE_BATCH: FileJob(ArchiveRequest, archive_batch),
    FileJobKind.OPEN_DUBBING: FileJob(OpenDubbingRequest, open_dubbing),
    FileJobKind.FIT_DUBBING: FileJob(FitDubbingRequest, fit_dubbing),
    FileJobKind.ASSEMBLE_DUBBING: FileJob(AssembleDubbingRequest, assemble_dubbing),
    FileJobKind.SEND_RESULTS: FileJob(ResultUploadRequest, send_results),
    FileJobKind.DATASET_VERSION: FileJob(DatasetVersionPayload, make_version),
    FileJobKind.DATASET_REPORT: FileJob(DatasetReportPayload, make_report),
    FileJobKind.PHONEME_COVERAGE: FileJob(PhonemeCoveragePayload, measure_coverage),
    FileJobKind.IMPORT_VOICE: FileJob(VoiceImportRequest, import_voice),
    FileJobKind.CHECK_CONSENT: FileJob(ConsentCheckRequest, check_consent),
    FileJobKind.COMPARE_SPEAKER: FileJob(SpeakerComparisonRequest, compare_speaker),
    FileJobKind.PROPOSE_PROMPTS: FileJob(PromptProposalRequest, propose_prompts),
}


class Files:
    """Run the file jobs of every kind, one at a time."""

    name = FILES
    stop_grace_seconds = STOP_GRACE_SECONDS

    def start(self, services: WorkerServices) -> None:
        """Prepare an empty cache of models."""
        self.services = services
        self.models = ModelCache.from_settings(services.settings)

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        """Run one job and return its result."""
        return run_file_job(FileJobRun(context, self.models))

    def idle(self) -> None:
        """Drop models that were not used for a while."""
        self.models.tidy()

    def stop(self) -> None:
        """Drop all models."""
        self.models.clear()


def run_file_job(run: FileJobRun) -> dict[str, Any]:
    """Run a file job of any kind, whichever queue it waited in, and return its result.

    An installation from before this role existed may still hold such jobs in the queues of the splitter and the
    preprocessor, which hand them over here.
    """
    kind = file_job_kind(run.job.payload)
    if kind is None:
        raise InvalidRequest(
            f"There is no kind of file job named {run.job.payload.get(KIND_FIELD)!r}.",
            hint=f"The kinds are {', '.join(FileJobKind)}.",
        )
    with model_errors(), storage_faults(run.services.storage.root):
        return FILE_JOBS[kind](run)
