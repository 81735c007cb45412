"""What the splitter does at the very end for those who asked for it: one ZIP of the results, sent to their address."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from core.datasets.verdict import is_left_out
from core.errors import NotFound, PermanentError, SovitsError
from core.jobs.job import Job, JobStatus
from core.net.fetch import Fetcher
from core.records.dataset_rows import DatasetStatus
from core.speech.result_uploads import SendRequest
from core.voices.export import prepare_export
from roles.runtime.role import JobContext
from roles.runtime.services import Services

SEND_SECONDS: Final = 1800.0
"""For one whole upload."""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The oldest time that an archive can hold; equal content gives equal bytes."""


class UploadFailed(SovitsError):
    """The address could not be reached or is in trouble; it is tried again."""

    code = "upload_failed"


class UploadRefused(PermanentError):
    """The address does not take it."""

    code = "upload_refused"


def send_results(job: Job, context: JobContext) -> dict[str, Any]:
    """Pack and send; where there is nothing to send, because the work failed or was cancelled, say so."""
    request = SendRequest.model_validate(job.payload)
    services = context.services
    with _temporary(services) as path:
        reason = _pack_for(request.of)(services, request.of, path)
        if reason:
            return {"sent": False, "reason": reason}
        context.check()
        status = _send(services, request.url, path)
        size = path.stat().st_size
    return {"sent": True, "status_code": status, "size_bytes": size}


def _send(services: Services, url: str, path: Path) -> int:
    fetcher = Fetcher(max_bytes=0, timeout_seconds=SEND_SECONDS, allowed_hosts=services.settings.fetch_allowed_hosts)
    try:
        status = services.call(fetcher.put_file, url, path, "application/zip")
    except SovitsError as error:
        if error.code == "refused_address":
            raise
        raise UploadFailed(error.message, hint=error.hint) from None
    if 200 <= status < 300:
        return status
    if status >= 500 or status in (408, 429):
        raise UploadFailed(f"The upload address answered {status}.")
    raise UploadRefused(f"The upload address answered {status}.", hint="It must take a PUT or a POST of a ZIP.")


Pack = Callable[[Services, str, Path], str]
"""Writes the ZIP; why there is none, or nothing."""


def _pack_for(of: str) -> Pack:
    kind = of.partition("-")[0]
    packs: dict[str, Pack] = {"task": _voice, "infer": _sound, "batch": _archive, "ds": _dataset}
    return packs[kind]


def _voice(services: Services, task_id: str, path: Path) -> str:
    task = services.call(services.records.get_task, task_id)
    experiment = services.call(services.records.get_experiment, task.exp_id)
    if experiment.voice_id is None:
        return f"The task is {task.status}; it has no voice."
    voice = services.call(services.records.get_voice, experiment.voice_id)
    gpt = services.call(services.records.get_checkpoint, voice.gpt_checkpoint_id)
    sovits = services.call(services.records.get_checkpoint, voice.sovits_checkpoint_id)
    with path.open("wb") as file:
        for chunk in prepare_export(voice, gpt, sovits, services.storage).chunks():
            file.write(chunk)
    return ""


def _sound(services: Services, inference_id: str, path: Path) -> str:
    result, reason = _result(services, inference_id)
    if not reason:
        source = services.storage.path(result["audio"])
        _write(path, [(f"{inference_id}{source.suffix}", source)], {})
    return reason


def _archive(services: Services, batch_id: str, path: Path) -> str:
    result, reason = _result(services, batch_id)
    if not reason:
        path.write_bytes(services.storage.path(result["archive"]).read_bytes())
    return reason


def _dataset(services: Services, job_id: str, path: Path) -> str:
    """The segments that a training would take, with a list of their transcripts."""
    dataset_id, _, number = job_id.partition(".")
    version = services.call(services.records.get_dataset_version, dataset_id, int(number))
    if version.status is not DatasetStatus.READY:
        return f"Version {number} of the data set is {version.status}: {version.message}"
    contents = services.call(services.records.dataset_contents, dataset_id, int(number))
    dataset = services.call(services.records.get_dataset, dataset_id)
    files, lines = [], []
    for segment in contents.segments:
        if is_left_out(segment, version.report or {}):
            continue
        name = f"{segment.subset or 'train'}/{segment.number:05d}.wav"
        files.append((name, services.storage.path(segment.storage_key)))
        lines.append(
            "|".join((name, segment.speaker or "speaker", segment.language or dataset.language, segment.transcript))
        )
    manifest = {"dataset_id": dataset_id, "version": int(number), "name": dataset.name, "made_by": version.made_by}
    _write(path, files, {"transcripts.list": "\n".join(lines).encode(), "dataset.json": orjson.dumps(manifest)})
    return ""


def _result(services: Services, job_id: str) -> tuple[dict[str, Any], str]:
    job = services.queue.job(job_id)
    if job is None:
        raise NotFound(f"{job_id} was forgotten before its results could be sent.")
    if job.status is JobStatus.DONE and job.result is not None:
        return job.result, ""
    return {}, f"{job_id} is {job.status}: {(job.error or {}).get('message', 'there is no result')}"


def _write(path: Path, files: list[tuple[str, Path]], texts: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in texts.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
        for name, source in files:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.file_size = source.stat().st_size
            with source.open("rb") as sound, archive.open(info, "w") as target:
                while block := sound.read(1 << 20):
                    target.write(block)


@contextmanager
def _temporary(services: Services) -> Iterator[Path]:
    path = services.storage.new_temporary()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
