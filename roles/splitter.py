"""The splitter: one text in, one job per utterance out, in the order in which they are to be heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common.limits import MAX_SPEED, MIN_SPEED
from core.jobs.file_jobs import KIND_FIELD
from core.jobs.job import Job, NewJob
from core.jobs.roles import SPLITTER, SYNTHESIZER
from core.speech.requests import PronunciationSpan, SpeechRequest, SplitResult, UtteranceRequest
from roles.runtime.errors import model_errors
from roles.runtime.file_job import FileJobRun
from roles.runtime.role import STOP_GRACE_SECONDS, JobContext
from roles.runtime.services import WorkerServices

if TYPE_CHECKING:
    from GPT_SoVITS.text import UtteranceText


class Splitter:
    """Normalize and split a text, and enqueue its utterances for the synthesizers."""

    name = SPLITTER
    stop_grace_seconds = STOP_GRACE_SECONDS

    def start(self, services: WorkerServices) -> None:
        """Keep the services."""
        self.services = services

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        """Split a text, or run a file job that waited here before the role `files` existed."""
        if KIND_FIELD in job.payload:
            from roles.files import run_file_job  # only an upgraded installation needs it

            return run_file_job(FileJobRun(context))
        return {**self.split(job, context)}

    def split(self, job: Job, context: JobContext) -> SplitResult:
        """Enqueue the utterances of a text under ids made from the job's own, so that a second run adds nothing."""
        from GPT_SoVITS.text import read_markup, split_script

        request = SpeechRequest.model_validate(job.payload)
        with model_errors():
            script = read_markup(
                request.text,
                request.language,
                input_type=request.input_type,
                pronunciations=request.pronunciations,
                number_language=request.number_language,
            )
            utterances = split_script(script, request.number_language, request.text_split_method)
        context.check()
        job_ids = [f"{job.id}.{index}" for index in range(len(utterances))]
        queue = self.services.queue
        queue.enqueue_many(
            [
                NewJob(
                    role=SYNTHESIZER,
                    payload=_utterance_request(request, job.id, index, utterance).stored(),
                    job_id=job_ids[index],
                    priority=job.priority,
                    topic=request.assembly,
                    device=request.device,
                    owner=job.owner,
                )
                for index, utterance in enumerate(utterances)
            ]
        )
        if request.assembly and not queue.add_dependencies(request.assembly, job_ids):
            for job_id in job_ids:  # the job that would join them was cancelled meanwhile
                queue.cancel(job_id)
        return {
            "utterances": [
                {"job_id": job_id, "text": utterance.text}
                for job_id, utterance in zip(job_ids, utterances, strict=True)
            ]
        }

    def idle(self) -> None:
        """Nothing is loaded that could be freed."""

    def stop(self) -> None:
        """Nothing has to be closed."""


def _utterance_request(request: SpeechRequest, parent: str, index: int, utterance: UtteranceText) -> UtteranceRequest:
    """Return one utterance of a request, with everything that it needs."""
    return UtteranceRequest(
        parent=parent,
        index=index,
        text=utterance.text,
        language=utterance.language,
        voice_id=request.voice_id,
        speed=min(max(request.speed * utterance.rate, MIN_SPEED), MAX_SPEED),
        seed=request.seed,
        prompt=request.prompt,
        prompt_name=request.prompt_name,
        extra_references=request.extra_references,
        gpt_checkpoint_id=request.gpt_checkpoint_id,
        sovits_checkpoint_id=request.sovits_checkpoint_id,
        sampling=request.sampling,
        announced=bool(request.assembly),
        readings=tuple(
            PronunciationSpan(start=span.start, end=span.end, language=span.language, units=span.units)
            for span in utterance.pronunciations
        ),
        silence_before=utterance.silence_before,
        silence_after=utterance.silence_after,
    )
