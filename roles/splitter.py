"""The splitter: one text in, one job an utterance out, in the order in which they are to be heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common.limits import MAX_SPEED, MIN_SPEED
from core.jobs.file_jobs import KIND_FIELD
from core.jobs.job import Job, NewJob
from core.jobs.roles import SPLITTER, SYNTHESIZER
from core.speech.requests import PronunciationSpan, SpeechRequest, UtteranceRequest
from roles.runtime.errors import model_errors
from roles.runtime.file_job import FileJobRun
from roles.runtime.role import STOP_GRACE_SECONDS, JobContext
from roles.runtime.services import WorkerServices

if TYPE_CHECKING:
    from GPT_SoVITS.text import UtteranceText


class Splitter:
    """Normalise and split a text, and fan its utterances out to the synthesizers."""

    name = SPLITTER
    stop_grace_seconds = STOP_GRACE_SECONDS

    def start(self, services: WorkerServices) -> None:
        self.services = services

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        """Split a text, or run a file job that waited here before the role `files` existed."""
        if KIND_FIELD in job.payload:
            from roles.files import run_file_job  # only an upgraded installation needs it

            return run_file_job(FileJobRun(context))
        return self._split(job, context)

    def idle(self) -> None:
        """Nothing to free."""

    def stop(self) -> None:
        """Nothing to close."""

    def _split(self, job: Job, context: JobContext) -> dict[str, Any]:
        """Enqueue the utterances under ids made from the job's own, so that a second run adds nothing."""
        from GPT_SoVITS.text import read_markup, split_script

        request = SpeechRequest.model_validate(job.payload)
        with model_errors():
            pieces = split_script(
                read_markup(
                    request.text,
                    request.language,
                    input_type=request.input_type,
                    pronunciations=request.pronunciations,
                )
            )
        context.check()
        children = [
            NewJob(
                role=SYNTHESIZER,
                payload=_part_of(request, job.id, index, piece).stored(),
                job_id=f"{job.id}.{index}",
                priority=job.priority,
                topic=request.assembly,
                device=request.device,
            )
            for index, piece in enumerate(pieces)
        ]
        queue = self.services.queue
        queue.enqueue_many(children)
        ids = [child.job_id for child in children]
        if request.assembly and not queue.add_dependencies(request.assembly, ids):
            for child in ids:  # whoever wanted them together was cancelled meanwhile
                queue.cancel(child)
        return {
            "utterances": [
                {"job_id": child.job_id, "text": piece.text} for child, piece in zip(children, pieces, strict=True)
            ]
        }


def _part_of(request: SpeechRequest, parent: str, index: int, piece: UtteranceText) -> UtteranceRequest:
    """Return one utterance of a request, with everything that it needs."""
    return UtteranceRequest(
        parent=parent,
        index=index,
        text=piece.text,
        language=piece.language,
        voice_id=request.voice_id,
        speed=min(max(request.speed * piece.rate, MIN_SPEED), MAX_SPEED),
        seed=request.seed,
        prompt=request.prompt,
        prompt_name=request.prompt_name,
        announced=bool(request.assembly),
        readings=tuple(
            PronunciationSpan(start=span.start, end=span.end, language=span.language, units=span.units)
            for span in piece.pronunciations
        ),
        silence_before=piece.silence_before,
        silence_after=piece.silence_after,
    )
