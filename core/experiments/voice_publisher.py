"""From a finished experiment to a voice that can speak."""

from __future__ import annotations

import asyncio
import hashlib
from typing import cast

from common import storage_keys
from core.errors import Conflict, SovitsError
from core.experiments.notifier import Notifier
from core.records import (
    ExperimentRecord,
    ExperimentStatus,
    NewVoiceRecord,
    Records,
    StageRecord,
    VoicePrompt,
    VoiceRecord,
)
from core.stages.outputs import PromptOutput
from core.stages.stage import STAGES
from core.stages.status import StageStatus
from core.storage import Storage


class VoicePublisher:
    """Makes voices of trained experiments. With a storage, a voice gets its own copy of the prompt."""

    def __init__(self, records: Records, storage: Storage | None, notifier: Notifier) -> None:
        self.records = records
        self.storage = storage
        self.notifier = notifier

    async def publish(self, exp_id: str, name: str = "") -> VoiceRecord:
        """Publish the voice of the newest checkpoints, named after the experiment unless `name` is given.

        A slash, which no name of a voice has, becomes a dash.

        Repeating it returns the same voice; a name in use gets a number.

        Raises:
            Conflict: a model is not trained, or no prompt was found.
            ConsentMissing: the consent of the experiment was withdrawn or has expired, or one is required.
        """
        experiment = await self.records.experiments.get(exp_id)
        runs = {run.stage: run for run in await self.records.stages.of_experiment(exp_id)}
        gpt = str(_output(runs["gpt_train"], "checkpoint_id"))
        sovits = str(_output(runs["sovits_train"], "checkpoint_id"))
        segment = cast(PromptOutput, _output(runs["asr"], "prompt"))
        if missing := {"audio", "text", "language"} - segment.keys():
            raise Conflict(f"the prompt of {exp_id} has no {', '.join(sorted(missing))}", hint="Run asr again.")
        # The id follows from the content, so that two processes that publish at once make one voice.
        voice_id = "voice-" + hashlib.sha256(f"{exp_id} {gpt} {sovits}".encode()).hexdigest()[:20]
        audio = segment["audio"]
        if self.storage is not None:
            audio = storage_keys.voice_file(voice_id, "prompt.wav")
            try:
                await asyncio.to_thread(self.storage.copy, segment["audio"], audio)
            except FileNotFoundError:
                raise Conflict(f"the prompt {segment['audio']} is gone", hint="Run asr again.") from None
        prompt: VoicePrompt = {
            "name": "default",
            "audio": audio,
            "text": segment["text"],
            "language": segment["language"],
        }
        tokens = runs["semantic_token"].outputs.get("prompt_tokens")
        if tokens is not None:  # the synthesizer then needs no content encoder
            prompt["tokens"] = tokens
        voice = await self.records.voices.create(
            NewVoiceRecord(
                id=voice_id,
                name=name or experiment.exp_name.replace("/", "-"),
                version=experiment.version,
                language=segment["language"],
                gpt_checkpoint_id=gpt,
                sovits_checkpoint_id=sovits,
                prompts=[prompt],
                exp_id=exp_id,
                owner=experiment.owner,
                consent_id=experiment.consent_id,
            )
        )
        async with self.records.experiments.transaction(exp_id) as transaction:
            transaction.set_experiment(voice_id=voice.id)
        return voice

    async def publish_after_training(self, experiment: ExperimentRecord, stage: str) -> None:
        """Publish once both models are trained, and again when `stage` trained one anew.

        For clients of the training service, whose API has no step for it. A failure is logged for them.
        """
        trained = experiment.status is ExperimentStatus.COMPLETED
        if not trained or (experiment.voice_id is not None and not STAGES[stage].trains):
            return
        try:
            await self.publish(experiment.id)
        except SovitsError as error:
            await self.notifier.log(experiment, f"No voice could be published: {error.message}", level="WARNING")


def _output(run: StageRecord, name: str) -> object:
    if run.status is not StageStatus.COMPLETED:
        raise Conflict(f"{run.stage} of {run.exp_id} is {run.status}", hint="A voice needs both models trained.")
    if name not in run.outputs:
        raise Conflict(f"{run.stage} of {run.exp_id} left no {name}", hint="Run the stage again.")
    return run.outputs[name]
