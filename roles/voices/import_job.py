"""The job that imports an uploaded voice: a limited child opens the files, then the voice is published."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final, cast

import orjson

from common.programs import VOICE_OPENER, program_command
from common.storage_keys import import_file, import_folder
from core.child_process import ChildProcess, isolated_environment
from core.errors import InvalidRequest, NotFound, PermanentError, SovitsError
from core.voices.archive import ConsentEntry
from core.voices.import_job import VoiceImportRequest, VoiceImportResult, import_lock
from roles.preprocessing.model_files import models_folder
from roles.runtime.errors import error_from_report
from roles.runtime.file_job import FileJobRun
from roles.runtime.role import JobContext
from roles.voices.check_consent import check_speaker
from roles.voices.convert import ConvertedCheckpoint
from roles.voices.import_child import CheckedCheckpoint, CheckedVoice, ImportPlan, ImportReport
from roles.voices.publish import ImportedPrompt, UnpublishedVoice, publish

logger = logging.getLogger(__name__)

_PASSED_ON: Final = ("HOME", "TMPDIR", "LANG")
_POLL_SECONDS: Final = 0.5
_MAX_REASON_CHARACTERS: Final = 300
MAX_SECONDS: Final = 900.0
"""Of one import; a voice of the largest version takes about a minute."""


def import_voice(request: VoiceImportRequest, run: FileJobRun) -> VoiceImportResult:
    """Publish the voice, whole or not at all. The upload is deleted, unless another attempt may need it."""
    services, upload = run.services, import_folder(run.job.id)
    files = {part: services.storage.path(import_file(run.job.id, part)) for part in request.files}
    try:
        if not all(path.is_file() for path in files.values()):
            raise NotFound("What was uploaded for this import was deleted meanwhile.", hint="Send the files again.")
        with services.storage.temporary_folder() as folder:
            plan = ImportPlan(
                folder=str(folder),
                models=str(models_folder(services)),
                name=request.name,
                language=request.language,
                text=request.text,
                version=request.version,
                files={part: str(path) for part, path in files.items()},
            )
            run.context.progress(0.05, "Opening the files.")
            report = open_in_child(plan, services.threads, run.context)
            if "error" in report:
                raise error_from_report({**report["error"], "permanent": True})
            run.context.progress(0.9, "Publishing the voice.")
            if request.consent_id:
                _check_speaker(request.consent_id, report["voice"], run)
            with import_lock(services.settings.data_path):
                unpublished = replace(_unpublished_voice(report["voice"]), consent_id=request.consent_id)
                voice = services.call(publish, unpublished, services.records, services.storage, again=True)
    except PermanentError:
        services.storage.delete_folder(upload)
        raise
    services.storage.delete_folder(upload)
    return {"voice_id": voice.id, "name": voice.name, "version": voice.version}


def _check_speaker(consent_id: str, voice: CheckedVoice, run: FileJobRun) -> None:
    """Raise InvalidRequest where a spoken consent is another speaker's than that of the first prompt."""
    services = run.services
    consent = services.call(services.records.consents.get, consent_id)
    if consent.recording_key:
        prompt = _unpublished_voice(voice).prompts[0]
        check_speaker(run, prompt.recording, services.storage.path(consent.recording_key))


def open_in_child(plan: ImportPlan, threads: int, context: JobContext) -> ImportReport:
    """Run the limited child and return its report. Raises what ends the job, and for a child that died.

    One that is killed may have been in somebody else's way, so that it runs once more.
    """
    file = Path(plan.folder, "plan.json")
    file.write_bytes(orjson.dumps(asdict(plan)))
    command = program_command(VOICE_OPENER, str(file))
    environment = {**isolated_environment(threads=threads, keep=_PASSED_ON), "CUDA_VISIBLE_DEVICES": ""}
    deadline = time.monotonic() + MAX_SECONDS
    child, report = _run_child(command, environment, deadline, context)
    if report is None and child.killed_by == "SIGKILL":
        logger.warning("The process that opens the files was killed; it is started once more.")
        child, report = _run_child(command, environment, deadline, context)
    if report is None:
        raise child_death(child.returncode or 0, child.killed_by, child.log_tail)
    return cast(ImportReport, report)


def _run_child(
    command: Sequence[str], environment: Mapping[str, str], deadline: float, context: JobContext
) -> tuple[ChildProcess, Mapping[str, object] | None]:
    """Return the child, which has ended, and the last thing it reported."""
    report: Mapping[str, object] | None = None
    with ChildProcess(command, env=environment) as child:
        context.on_stop(child.kill)
        for event in child.events(_POLL_SECONDS):
            report = event or report
            context.check()
            if time.monotonic() > deadline:
                raise InvalidRequest(
                    f"Opening these files was stopped after {MAX_SECONDS:.0f} s: "
                    "they are broken, or too much for a voice."
                )
        child.wait()
    context.check()
    return child, report


def child_death(code: int, killed_by: str, log_tail: list[str]) -> SovitsError:
    """Return the error for a child that ended without a report; one that was killed is not tried again."""
    if killed_by:
        return InvalidRequest(
            f"Opening these files was stopped by {killed_by}: they are broken, or too much for a voice."
        )
    reason = log_tail[-1] if log_tail else "without a word"
    return SovitsError(f"Opening these files failed: {reason[:_MAX_REASON_CHARACTERS]}.")


def _unpublished_voice(checked: CheckedVoice) -> UnpublishedVoice:
    return UnpublishedVoice(
        name=checked["name"],
        language=checked["language"],
        gpt=_checkpoint(checked["gpt"]),
        sovits=_checkpoint(checked["sovits"]),
        prompts=tuple(
            ImportedPrompt(
                name=prompt["name"],
                recording=Path(prompt["recording"]),
                text=prompt["text"],
                language=prompt["language"],
                tokens=prompt["tokens"],
                description=prompt["description"],
            )
            for prompt in checked["prompts"]
        ),
        pronunciations=checked["pronunciations"],
        loudness=checked["loudness"],
        details=checked["details"],
        consent=None if checked["consent"] is None else ConsentEntry.model_validate(checked["consent"]),
    )


def _checkpoint(checked: CheckedCheckpoint) -> ConvertedCheckpoint:
    return ConvertedCheckpoint(
        kind=checked["kind"],
        version=checked["version"],
        path=Path(checked["path"]),
        sha256=checked["sha256"],
        epoch=checked["epoch"],
        step=checked["step"],
    )
