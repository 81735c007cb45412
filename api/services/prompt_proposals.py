"""Proposals of prompts: which recordings of a voice there are, and the job that looks for the best passages."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, cast

from api.services.waited_jobs import WaitedJobs
from common import storage_keys
from core.errors import NotFound
from core.records import ExperimentRecord, Records, VoiceRecord
from core.stages.outputs import PromptOutput
from core.voices.prompt_proposals import (
    PROPOSALS_PREFIX,
    PromptProposalRequest,
    PromptProposals,
    no_recordings,
    proposal_key,
)

WAIT_SECONDS: Final = 300.0
"""How long a request waits for them: half an hour of speech takes a minute on one core."""
_PROPOSAL_ID: Final = re.compile(rf"({PROPOSALS_PREFIX}-[0-9a-z]+)\.([0-9]{{1,2}})")


@dataclass(frozen=True, slots=True)
class FoundProposals:
    """Passages, and what they are asked for by."""

    voice_id: str
    job_id: str
    result: PromptProposals

    def id(self, number: int) -> str:
        """Return the id of a passage."""
        return f"{self.job_id}.{number}"


class PromptProposalService:
    """Proposes the best passages of a voice's recordings as prompts."""

    def __init__(self, records: Records, jobs: WaitedJobs) -> None:
        self._records = records
        self._jobs = jobs

    async def propose(self, voice: str, count: int, file_id: str = "") -> FoundProposals:
        """Return the best passages of an uploaded file, or of what the voice was trained on.

        Raises NotFound for an unknown voice or file, InputGone where the voice has no recordings any more.
        """
        record = await self._records.voices.get(voice)
        request = PromptProposalRequest(voice_id=record.id, voice_name=record.name, count=count)
        if file_id:
            changes: dict[str, object] = {"recording": (await self._records.files.get(file_id)).storage_key}
        else:
            changes = await self._recordings_of(record)
            if not changes:
                raise no_recordings(record.name)
        job = await self._jobs.run(request.model_copy(update=changes), PROPOSALS_PREFIX, WAIT_SECONDS)
        return FoundProposals(record.id, job.id, cast(PromptProposals, job.result))

    async def audio(self, voice: str, proposal_id: str) -> tuple[str, NotFound]:
        """Return the storage key of a passage, and the error for one that was none of the voice or has expired."""
        record = await self._records.voices.get(voice)
        missing = NotFound(
            f"The voice {record.name} has no proposal {proposal_id!r}, or it has expired.",
            hint=f"GET /api/v1/voices/{record.id}/prompts/proposals makes new ones.",
        )
        match = _PROPOSAL_ID.fullmatch(proposal_id)
        if match is None:
            raise missing
        return proposal_key(match[1], record.id, int(match[2])), missing

    async def _recordings_of(self, voice: VoiceRecord) -> dict[str, object]:
        """Return where the recordings lie, as far as the caller may see the experiment that they belong to."""
        experiment = await self._experiment_of(voice)
        if experiment is None:
            return {}
        recordings: dict[str, object] = {}
        runs = {run.stage: run for run in await self._records.stages.of_experiment(experiment.id)}
        prompt = cast(PromptOutput | None, runs["asr"].outputs.get("prompt") if "asr" in runs else None)
        if prompt and "audio" in prompt:
            recordings["segments"] = prompt["audio"].rpartition("/")[0]
            recordings["transcripts"] = storage_keys.experiment_file(experiment.id, "transcripts.list")
        if experiment.dataset_id:
            recordings |= {"dataset_id": experiment.dataset_id, "dataset_version": experiment.dataset_version}
        if experiment.audio_file_id:
            with suppress(NotFound):  # deleted since; the segments may be there
                recordings["recording"] = (await self._records.files.get(experiment.audio_file_id)).storage_key
        return recordings

    async def _experiment_of(self, voice: VoiceRecord) -> ExperimentRecord | None:
        """Return the experiment that trained a voice or its checkpoint; None where it is deleted or another's."""
        exp_id = voice.exp_id
        try:
            if exp_id is None:
                exp_id = (await self._records.checkpoints.get(voice.sovits_checkpoint_id)).exp_id
            return None if exp_id is None else await self._records.experiments.get(exp_id)
        except NotFound:
            return None
