"""The preprocessor's work on a voice that came over HTTP: a limited child opens the files, then they are published."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import orjson

from common.storage_keys import import_file, import_folder
from core.errors import InvalidRequest, NotFound, PermanentError, SovitsError, error_from_code
from core.process import signal_group, start_child, stop_group, thread_limits
from core.voices.import_job import VoiceImportRequest, VoiceImportResult, import_lock
from roles.runtime.file_job import FileJobRun
from roles.runtime.role import JobContext
from roles.voices.convert import Weights
from roles.voices.import_child import ANSWER, Plan
from roles.voices.publish import NewPrompt, NewVoice, publish

_ROOT: Final = Path(__file__).resolve().parents[2]
_KEPT: Final = ("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "HOME", "TMPDIR", "LANG")
"""Of the environment: the child must not see keys and addresses."""
_POLL_SECONDS: Final = 0.5
_MOST_WORDS: Final = 300


def import_voice(request: VoiceImportRequest, run: FileJobRun) -> VoiceImportResult:
    """Publish the voice, whole or not at all. The upload is deleted, unless another attempt may need it."""
    try:
        result = _import(run, request)
    except PermanentError:
        run.services.storage.delete_folder(import_folder(run.job.id))
        raise
    run.services.storage.delete_folder(import_folder(run.job.id))
    return result


def _import(run: FileJobRun, request: VoiceImportRequest) -> VoiceImportResult:
    services = run.services
    folder = services.storage.new_temporary()
    folder.mkdir()
    try:
        run.context.progress(0.05, "Opening the files.")
        made = _open(run, request, folder)
        run.context.progress(0.9, "Publishing the voice.")
        with import_lock(services.settings.data_path):
            voice = services.call(publish, made, services.records, services.storage, again=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"voice_id": voice.id, "name": voice.name, "version": voice.version}


def _open(run: FileJobRun, request: VoiceImportRequest, folder: Path) -> NewVoice:
    storage = run.services.storage
    files = {part: storage.path(import_file(run.job.id, part)) for part in request.files}
    if not all(path.is_file() for path in files.values()):
        raise NotFound("What was uploaded for this import was deleted meanwhile.", hint="Send the files again.")
    plan = Plan(
        folder=str(folder),
        models=str(run.services.settings.data_path / "models"),
        name=request.name,
        language=request.language,
        text=request.text,
        version=request.version,
        files={part: str(path) for part, path in files.items()},
    )
    (folder / "plan.json").write_bytes(orjson.dumps(asdict(plan)))
    _run_child(folder, run.services.threads, run.context)
    return _read(orjson.loads((folder / ANSWER).read_bytes()))


def _run_child(folder: Path, threads: int, context: JobContext) -> None:
    """Until it has left its answer; raises what ends the job, and for a child that died without a word."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment = {**kept, **thread_limits(threads), "PYTHONPATH": str(_ROOT), "CUDA_VISIBLE_DEVICES": ""}
    with (folder / "complaints").open("wb") as complaints:
        command = [sys.executable, "-m", "roles.voices.import_child", str(folder / "plan.json")]
        child = start_child(command, env=environment, cwd=_ROOT, stdout=complaints, stderr=complaints)
        context.on_stop(lambda: signal_group(child.pid))
        try:
            while child.poll() is None:
                try:
                    child.wait(_POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    context.check()
        finally:
            stop_group(child, grace_seconds=0.0)
    context.check()
    if not (folder / ANSWER).is_file():
        raise _death(child.returncode, (folder / "complaints").read_bytes())


def _death(code: int, complaints: bytes) -> SovitsError:
    if code < 0:
        name = signal.Signals(-code).name
        return InvalidRequest(f"Opening these files was stopped by {name}: they are broken, or too much for a voice.")
    last = complaints.decode(errors="replace").strip().splitlines()[-1:] or ["without a word"]
    return SovitsError(f"Opening these files failed: {last[0][:_MOST_WORDS]}.")


def _read(answer: dict[str, Any]) -> NewVoice:
    """The child's answer; what it refused is raised here."""
    if "error" in answer:
        told = answer["error"]
        error = error_from_code(told["code"], told["message"], hint=told.get("hint", ""), permanent=True)
        error.details = told.get("details", {})
        raise error
    return NewVoice(
        name=answer["name"],
        language=answer["language"],
        gpt=_weights(answer["gpt"]),
        sovits=_weights(answer["sovits"]),
        prompts=tuple(NewPrompt(**{**one, "recording": Path(one["recording"])}) for one in answer["prompts"]),
        pronunciations=answer["pronunciations"],
        told=answer["told"],
    )


def _weights(told: dict[str, Any]) -> Weights:
    return Weights(**{**told, "path": Path(told["path"])})
