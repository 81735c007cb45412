"""The splitter: one text in, one job an utterance out, in the order in which they are to be heard."""

from __future__ import annotations

from typing import Any

from core.errors import EmptyText
from core.job import Job
from core.queue import NewJob
from core.roles import SPLITTER, SYNTHESIZER
from core.speech import SpeechRequest, UtteranceRequest
from roles.errors import model_errors
from roles.role import JobContext
from roles.services import Services


class Splitter:
    """Normalise and split a text, and fan its utterances out to the synthesizers."""

    name = SPLITTER

    def start(self, services: Services) -> None:
        self.services = services

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        """Enqueue the utterances under ids made from the job's own, so that a second run adds nothing."""
        from GPT_SoVITS.text import split_for_speech

        request = SpeechRequest.model_validate(job.payload)
        with model_errors():
            pieces = split_for_speech(request.text, request.language)
        if not pieces:
            raise EmptyText("The text holds nothing to say.", hint="Send at least one word.")
        context.check()
        children = [
            NewJob(
                role=SYNTHESIZER,
                payload=UtteranceRequest.part_of(
                    request, parent=job.id, index=index, text=piece.text, language=piece.language
                ).model_dump(),
                job_id=f"{job.id}.{index}",
                priority=job.priority,
            )
            for index, piece in enumerate(pieces)
        ]
        self.services.queue.enqueue_many(children)
        return {
            "utterances": [
                {"job_id": child.job_id, "text": piece.text} for child, piece in zip(children, pieces, strict=True)
            ]
        }

    def idle(self) -> None:
        """Nothing to free."""

    def stop(self) -> None:
        """Nothing to close."""
