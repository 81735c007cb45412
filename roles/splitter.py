"""The splitter: one text in, its utterances out, in the order in which they are to be heard.

Those of an inference become jobs; those of live speech go back to the process that streams them, which splits short
texts itself.
"""

from __future__ import annotations

from typing import Any

from core.jobs.file_jobs import KIND_FIELD
from core.jobs.job import Job, NewJob
from core.jobs.roles import SPLITTER, SYNTHESIZER
from core.speech.requests import SpeechRequest, SplitResult
from core.speech.utterances import utterance_requests
from roles.runtime.errors import model_errors
from roles.runtime.file_job import FileJobRun
from roles.runtime.role import STOP_GRACE_SECONDS, JobContext
from roles.runtime.services import WorkerServices


class Splitter:
    """Normalize and split a text."""

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
        """Return the utterances of a text; enqueue those of an inference.

        Their ids are made from the job's own, so that a second run adds nothing.
        """
        from GPT_SoVITS.text import read_markup, split_script

        request = SpeechRequest.model_validate(job.payload)
        with model_errors():
            script = read_markup(
                request.text,
                request.language,
                input_type=request.input_type,
                pronunciations=request.pronunciations,
                voice_pronunciations={name: voice.pronunciations for name, voice in request.voices.items()},
                voice=request.first_voice,
                number_language=request.number_language,
            )
            utterances = split_script(script, request.number_language, request.text_split_method)
        context.check()
        requests = utterance_requests(request, job.id, utterances, notice=self.services.settings.spoken_notice)
        job_ids = [f"{job.id}.{utterance.index}" for utterance in requests]
        if not request.assembly:
            return {
                "utterances": [
                    {"job_id": job_id, "text": utterance.text, "request": utterance.stored()}
                    for job_id, utterance in zip(job_ids, requests, strict=True)
                ]
            }
        queue = self.services.queue
        queue.enqueue_many(
            [
                NewJob(
                    role=SYNTHESIZER,
                    payload=utterance.stored(),
                    job_id=job_id,
                    priority=job.priority,
                    topic=request.assembly,
                    device=request.device,
                    owner=job.owner,
                    affinity=request.voice_id,
                    part_of=request.assembly,
                )
                for job_id, utterance in zip(job_ids, requests, strict=True)
            ]
        )
        if not queue.add_dependencies(request.assembly, job_ids):
            for job_id in job_ids:  # the job that would join them was cancelled meanwhile
                queue.cancel(job_id)
        return {
            "utterances": [
                {"job_id": job_id, "text": utterance.text} for job_id, utterance in zip(job_ids, requests, strict=True)
            ]
        }

    def idle(self) -> None:
        """Nothing is loaded that could be freed."""

    def stop(self) -> None:
        """Nothing has to be closed."""
