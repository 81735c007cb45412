"""The stage test_inference: a sentence in the voice that was trained, and what machines think of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.errors import InvalidRequest, NotFound
from core.media import decode
from core.records import CheckpointRecord
from roles.stages.stage_role import StageRun
from roles.training.evaluation import Voice, judge, own_prompt

NAME = "the voice"
PROMPT_RATE = 32_000
"""Hz, at which another prompt is kept; every version reads it at its own."""


def test_inference(run: StageRun) -> dict[str, Any]:
    """Speak `target_text` with the chosen checkpoints (default: the best of the experiment) and judge it."""
    folder = run.folder / f"test_inference_{run.work_run}"
    folder.mkdir(parents=True, exist_ok=True)
    gpt, sovits = _checkpoint(run, "gpt"), _checkpoint(run, "sovits")
    prompt = _prompt(run, folder)
    text, language = _sentence(run)
    storage, sample = run.services.storage, folder / "sample.wav"
    voice = Voice(NAME, storage.path(gpt.storage_key), storage.path(sovits.storage_key), sample)
    request = {"prompt": prompt, "sentences": [text], "language": language}
    verdict = judge(run, folder, request, [voice], run.progress)[NAME]
    row = dict(verdict.sentences[0])
    shown = {name: row.pop(name) for name in ("text", "heard", "seconds")}
    key = f"experiments/{run.experiment.id}/{folder.name}/{sample.name}"
    return {
        **shown,
        "language": verdict.language,
        "sample": key if sample.exists() else None,
        "gpt_model": gpt.id,
        "sovits_model": sovits.id,
        "prompt_text": prompt["text"],
        "metrics": row,
    }


def _checkpoint(run: StageRun, kind: str) -> CheckpointRecord:
    """The one that was asked for, or the experiment's best."""
    asked = run.config[f"{kind}_model"]
    checkpoint_id = asked or run.outputs[f"{kind}_train"]["checkpoint_id"]
    record = run.services.call(run.services.records.checkpoints.get, checkpoint_id)
    if record.kind != kind:
        raise InvalidRequest(
            f"test_inference.{kind}_model is {asked}, a {record.kind} model; a {kind} model is needed.",
            hint=f"GET /api/v1/models?kind={kind} lists them.",
        )
    if not run.services.storage.exists(record.storage_key):
        raise NotFound(f"The weights of {checkpoint_id} are gone.", hint="Choose another checkpoint.")
    return record


def _prompt(run: StageRun, folder: Path) -> dict[str, Any]:
    """The uploaded one that was asked for, or the experiment's own."""
    asked = run.config["ref_audio"]
    if not asked:
        return own_prompt(run)
    run.services.call(run.services.records.files.get, asked)  # NotFound names it
    wav = folder / "prompt.wav"
    decode(
        run.services.storage.path(f"files/{asked}"),
        wav,
        sample_rate=PROMPT_RATE,
        mono=True,
        check=run.context.check,
    )
    return {"audio": str(wav), "text": run.config["ref_text"], "language": run.config["ref_language"], "tokens": None}


def _sentence(run: StageRun) -> tuple[str, str]:
    """(text, language): what was asked for, or the first sentence of the data set that is not the prompt."""
    if run.config["target_text"].strip():
        return run.config["target_text"].strip(), run.config["target_language"]
    from GPT_SoVITS.dataset.folder import read_annotations

    lines = read_annotations(run.folder / "transcripts.list")
    prompt = Path(run.outputs["asr"]["prompt"]["audio"]).name
    chosen = next((line for line in lines if Path(line.path).name != prompt), lines[0])
    return chosen.text, chosen.language
