"""The stage test_inference: a sentence in the voice that was trained, and its evaluation."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from common import storage_keys
from core.errors import InvalidRequest, NotFound
from core.media.decode import decode
from core.records import CheckpointRecord
from core.stages.outputs import InferenceTestOutputs
from roles.stages.stage_run import StageRun
from roles.training.evaluation import PromptArguments, VoiceToEvaluate, evaluate_voice, own_prompt

NAME: Final = "the voice"
PROMPT_RATE: Final = 32_000
"""Hz, at which an uploaded prompt is kept; every version resamples it."""


def test_inference(run: StageRun) -> InferenceTestOutputs:
    """Speak `target_text` with the chosen checkpoints (default: the best of the experiment) and evaluate it."""
    with run.held_folder() as folder:
        return _test_inference(run, folder)


def _test_inference(run: StageRun, folder: Path) -> InferenceTestOutputs:
    storage = run.services.storage
    gpt, sovits = _checkpoint(run, "gpt"), _checkpoint(run, "sovits")
    prompt = _uploaded_prompt(run, folder) if run.config["ref_audio"] else own_prompt(run)
    text, language = _sentence(run)
    sample = folder / "sample.wav"
    sample_key = storage_keys.experiment_file(run.experiment.id, run.own_folder_name, sample.name)
    voice = VoiceToEvaluate(NAME, storage.path(gpt.storage_key), storage.path(sovits.storage_key), sample)
    evaluation = evaluate_voice(
        run, folder, {"prompt": prompt, "sentences": [text], "language": language}, voice, run.progress
    )
    sentence = evaluation.sentences[0]
    return {
        "text": sentence["text"],
        "heard": sentence["heard"],
        "seconds": sentence["seconds"],
        "language": evaluation.language,
        "sample": sample_key if sample.exists() else None,
        "gpt_model": gpt.id,
        "sovits_model": sovits.id,
        "prompt_text": prompt["text"],
        "metrics": {name: value for name, value in sentence.items() if name not in ("text", "heard", "seconds")},
    }


def _checkpoint(run: StageRun, kind: str) -> CheckpointRecord:
    """Return the checkpoint that the parameters name, or the experiment's best; raise when it cannot be used."""
    named = run.config[f"{kind}_model"]
    outputs = run.training_outputs(kind)
    checkpoint_id = named or (outputs["checkpoint_id"] if outputs else "")
    record = run.services.call(run.services.records.checkpoints.get, checkpoint_id)
    if record.kind != kind:
        raise InvalidRequest(
            f"test_inference.{kind}_model is {named}, a {record.kind} model; a {kind} model is needed.",
            hint=f"GET /api/v1/models?kind={kind} lists them.",
        )
    if not run.services.storage.exists(record.storage_key):
        raise NotFound(f"The weights of {checkpoint_id} are gone.", hint="Choose another checkpoint.")
    return record


def _uploaded_prompt(run: StageRun, folder: Path) -> PromptArguments:
    """Decode the upload that the parameters name. Raises NotFound when there is none."""
    file_id = run.config["ref_audio"]
    run.services.call(run.services.records.files.get, file_id)
    wav = folder / "prompt.wav"
    storage = run.services.storage
    with storage.temporary_folder() as temporary:  # the decoder is another process, to which `folder` means nothing
        decoded = temporary / wav.name
        upload = storage.path(storage_keys.uploaded_file(file_id))
        decode(upload, decoded, sample_rate=PROMPT_RATE, mono=True, check=run.context.check)
        shutil.copyfile(decoded, wav)
    return {
        "audio": str(run.folder / run.own_folder_name / wav.name),
        "text": run.config["ref_text"],
        "language": run.config["ref_language"],
        "tokens": None,
    }


def _sentence(run: StageRun) -> tuple[str, str]:
    """Return text and language from the parameters, or of the first segment that is not the prompt."""
    if run.config["target_text"].strip():
        return run.config["target_text"].strip(), run.config["target_language"]
    from GPT_SoVITS.dataset.folder import read_annotations

    lines = read_annotations(run.folder / "transcripts.list")
    prompt = Path(run.outputs["asr"]["prompt"]["audio"]).name
    sentence = next((line for line in lines if Path(line.path).name != prompt), lines[0])
    return sentence.text, sentence.language
