"""The job that sends results to the address that came with a request: one ZIP, when everything is done."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import orjson

from common.zip_files import add_bytes, add_file
from core.datasets.flags import is_left_out
from core.errors import NotFound, PermanentError, SovitsError, error_message
from core.jobs.job import JobStatus
from core.net.fetch import Fetcher, FileForm
from core.records import DatasetStatus
from core.speech.result_uploads import ResultUpload, ResultUploadRequest
from core.voices.export import prepare_export
from roles.runtime.file_job import FileJobRun
from roles.runtime.services import WorkerServices

UPLOAD_SECONDS: Final = 1800.0
"""For one whole upload."""


TAG: Final = "SATEL_AGENT"
WEIGHT_TAG: Final = "SATEL_AGENT_WEIGHT"
"""The business tags of configurations and other files, and of weights."""


class UploadFailed(SovitsError):
    """The address could not be reached or is in trouble; it is tried again."""

    code = "upload_failed"


class UploadRejected(PermanentError):
    """The address does not accept the upload."""

    code = "upload_refused"


def send_results(request: ResultUploadRequest, run: FileJobRun) -> ResultUpload:
    """Pack the results and send them; return the reason when there are none because the job failed.

    Raises UploadFailed, UploadRejected, or ForbiddenAddress.
    """
    services = run.services
    pack = {"task": _pack_voice, "infer": _pack_audio, "batch": _pack_batch, "ds": _pack_dataset}
    with services.storage.temporary_file() as temporary:
        reason = pack[request.of.partition("-")[0]](services, request.of, temporary)
        if reason:
            return {"sent": False, "reason": reason}
        run.context.check()
        fetcher = Fetcher(
            max_bytes=0, timeout_seconds=UPLOAD_SECONDS, allowed_hosts=services.settings.fetch_allowed_hosts
        )
        token = services.settings.secret_box.decrypt(request.token) if request.token else ""
        if services.settings.result_upload_format == "files":
            status = 0
            for form in forms_of(request.of, temporary):
                run.context.check()
                status = _check_status(partial(services.call, fetcher.post_form, request.url, form, token=token))
        else:
            put = partial(services.call, fetcher.put_file, request.url, temporary, "application/zip", token=token)
            status = _check_status(put)
        return {"sent": True, "status_code": status, "size_bytes": temporary.stat().st_size}


def _check_status(send: Callable[[], int]) -> int:
    """Send, and return the status of the response. Raises UploadFailed or UploadRejected."""
    try:
        status = send()
    except SovitsError as error:
        if error.code == "refused_address":
            raise
        raise UploadFailed(error.message, hint=error.hint) from None
    if status >= 500 or status in (408, 429):
        raise UploadFailed(f"The upload address answered {status}.")
    if not 200 <= status < 300:
        raise UploadRejected(
            f"The upload address answered {status}.",
            hint="It must take a PUT or a POST of a ZIP; with RESULT_UPLOAD_FORMAT=files, POSTs of forms.",
        )
    return status


def forms_of(subject_id: str, archive: Path) -> Iterator[FileForm]:
    """Yield the files of an archive of results as forms, in the words of the model service."""
    of_training = subject_id.startswith("task-")
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            tag, file_type = TAG, ""
            if of_training and name.endswith(".safetensors"):
                tag, file_type = WEIGHT_TAG, "weight_path"
            elif of_training and name.endswith(".json"):
                file_type = "cfg_path"
            fields = {"business_tag": tag, "file_type": file_type}
            yield FileForm(name.rpartition("/")[2], opened.getinfo(name).file_size, partial(opened.open, name), fields)


# Each writes a ZIP to `path`, or returns the reason why there is none.


def _pack_voice(services: WorkerServices, task_id: str, path: Path) -> str:
    records = services.records
    task = services.call(records.tasks.get, task_id)
    experiment = services.call(records.experiments.get, task.exp_id)
    if experiment.voice_id is None:
        return f"The task is {task.status}; it has no voice."
    voice = services.call(records.voices.get, experiment.voice_id)
    gpt = services.call(records.checkpoints.get, voice.gpt_checkpoint_id)
    sovits = services.call(records.checkpoints.get, voice.sovits_checkpoint_id)
    with path.open("wb") as file:
        file.writelines(prepare_export(voice, gpt, sovits, services.storage).chunks())
    return ""


def _pack_audio(services: WorkerServices, inference_id: str, path: Path) -> str:
    key, reason = _result_key(services, inference_id, "audio")
    if not reason:
        audio = services.storage.path(key)
        with zipfile.ZipFile(path, "w") as archive:
            add_file(archive, f"{inference_id}{audio.suffix}", audio)
    return reason


def _pack_batch(services: WorkerServices, batch_id: str, path: Path) -> str:
    key, reason = _result_key(services, batch_id, "archive")
    if not reason:
        shutil.copyfile(services.storage.path(key), path)
    return reason


def _pack_dataset(services: WorkerServices, job_id: str, path: Path) -> str:
    """Pack the segments that a training would use, with a list of their transcripts."""
    records = services.records
    dataset_id, _, number = job_id.partition(".")
    version = services.call(records.dataset_versions.get, dataset_id, int(number))
    if version.status is not DatasetStatus.READY:
        return f"Version {number} of the data set is {version.status}: {version.message}"
    contents = services.call(records.dataset_versions.contents, dataset_id, int(number))
    dataset = services.call(records.datasets.get, dataset_id)
    audio_files: list[tuple[str, Path]] = []
    lines: list[str] = []
    for segment in contents.segments:
        if is_left_out(segment, version.report):
            continue
        name = f"{segment.subset or 'train'}/{segment.number:05d}.wav"
        audio_files.append((name, services.storage.path(segment.storage_key)))
        language = segment.language or dataset.language
        lines.append("|".join((name, segment.speaker or "speaker", language, segment.transcript)))
    manifest = {"dataset_id": dataset_id, "version": int(number), "name": dataset.name, "made_by": version.made_by}
    with zipfile.ZipFile(path, "w") as archive:
        add_bytes(archive, "transcripts.list", "\n".join(lines).encode())
        add_bytes(archive, "dataset.json", orjson.dumps(manifest))
        for name, audio in audio_files:
            add_file(archive, name, audio)
    return ""


def _result_key(services: WorkerServices, job_id: str, field: str) -> tuple[str, str]:
    """Return the storage key in a job's result, and the reason when there is none."""
    job = services.queue.job(job_id)
    if job is None:
        raise NotFound(f"{job_id} was forgotten before its results could be sent.")
    if job.status is JobStatus.DONE and job.result is not None:
        return str(job.result[field]), ""
    return "", f"{job_id} is {job.status}: {error_message(job.error, 'there is no result')}"
