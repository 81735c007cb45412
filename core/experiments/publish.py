"""From a finished experiment to a voice that can speak."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from core.errors import Conflict
from core.records import Records, StageRecord, VoiceRecord
from core.stages.stage import StageStatus
from core.storage import Storage


async def publish_voice(records: Records, storage: Storage | None, exp_id: str, name: str = "") -> VoiceRecord:
    """The voice of the newest checkpoints of an experiment, named after it; harmless when repeated.

    Conflict when a model is missing or no prompt was found. A taken name gets a number.
    """
    experiment = await records.get_experiment(exp_id)
    runs = {run.stage: run for run in await records.list_stages(exp_id)}
    gpt = _output(runs["gpt_train"], "checkpoint_id")
    sovits = _output(runs["sovits_train"], "checkpoint_id")
    prompt: dict[str, Any] = _output(runs["asr"], "prompt")
    if missing := {"audio", "text", "language"} - prompt.keys():
        raise Conflict(f"the prompt of {exp_id} has no {', '.join(sorted(missing))}", hint="Run asr again.")
    # Named by what it is made of, so that two processes that publish at once make one voice.
    voice_id = "voice-" + hashlib.sha256(f"{exp_id} {gpt} {sovits}".encode()).hexdigest()[:20]
    audio = prompt["audio"]
    if storage is not None:
        audio = f"voices/{voice_id}/prompt.wav"
        try:
            await asyncio.to_thread(storage.copy, prompt["audio"], audio)
        except FileNotFoundError:
            raise Conflict(f"the prompt {prompt['audio']} is gone", hint="Run asr again.") from None
    return await records.create_voice(
        voice_id=voice_id,
        name=name or experiment.exp_name,
        version=experiment.version,
        language=prompt["language"],
        gpt_checkpoint_id=gpt,
        sovits_checkpoint_id=sovits,
        prompts=[{"name": "default", **prompt, "audio": audio, **_tokens(runs["semantic_token"])}],
        exp_id=exp_id,
    )


def _tokens(run: StageRecord) -> dict[str, Any]:
    """The prompt's semantic tokens, when the training told them: no synthesizer needs the content encoder then."""
    return {"tokens": run.outputs["prompt_tokens"]} if "prompt_tokens" in run.outputs else {}


def _output(run: StageRecord, name: str) -> Any:
    if run.status is not StageStatus.COMPLETED:
        raise Conflict(f"{run.stage} of {run.exp_id} is {run.status}", hint="A voice needs both models trained.")
    if name not in run.outputs:
        raise Conflict(f"{run.stage} of {run.exp_id} told no {name}", hint="Run the stage again.")
    return run.outputs[name]
