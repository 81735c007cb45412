"""The role files: it runs jobs of every kind, also those that an older installation left in other queues."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Mapping

import pytest

from core.errors import InvalidRequest, JobCancelled
from core.jobs.file_jobs import FileJobKind, file_job_kind
from core.jobs.job import NewJob
from core.records import upgrade
from core.speech.inference_jobs import ArchiveRequest
from roles.files import FILE_JOBS
from roles.runtime.registry import make_role
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices


def test_every_kind_of_file_job_has_a_function_and_a_payload_that_names_it() -> None:
    assert set(FILE_JOBS) == set(FileJobKind)
    for kind, job in FILE_JOBS.items():
        assert job.payload.model_fields["kind"].default is kind


def test_payloads_keep_the_names_under_which_the_queue_stores_them() -> None:
    stored = ArchiveRequest(filenames=("a.wav",)).stored()

    assert stored == {
        "work": "archive_batch",
        "filenames": ["a.wav"],
        "subtitles": None,
        "max_line_characters": 42,
    }
    assert file_job_kind(stored) is FileJobKind.ARCHIVE_BATCH
    assert file_job_kind({"text": "Hello."}) is None


def run_next(services: WorkerServices, role_name: str) -> Mapping[str, object]:
    """Claim the next job of a role and run it as its worker would."""
    role = make_role(role_name)
    role.start(services)
    lease = services.queue.claim(role_name, f"{role_name}-test-1-{services.settings.redis_prefix}")
    assert lease is not None
    try:
        result = role.run(lease.job, JobContext(lease, services, threading.Event()))
    finally:
        role.stop()
    services.queue.ack(lease, result)
    return result


@pytest.mark.parametrize("role", ["splitter", "files"])
def test_an_archive_that_waited_in_the_queue_of_the_splitter_before_an_upgrade_is_made(
    services: WorkerServices, role: str
) -> None:
    services.storage.put_bytes("inference/batch-1.0/speech.wav", b"RIFF")
    services.queue.enqueue_many([NewJob("splitter", {"work": "assemble"}, job_id="batch-1.0")])
    item = services.queue.claim("splitter", "splitter-test-1-older")
    assert item is not None
    audio = {"audio": "inference/batch-1.0/speech.wav", "seconds": 1.0, "sha256": "0" * 64}
    services.queue.ack(item, audio)
    services.queue.enqueue_many([NewJob(role, {"work": "archive_batch", "filenames": ["a.wav"]}, job_id="batch-1")])

    result = run_next(services, role)

    assert (result["completed"], result["failed"]) == (1, 0)
    with zipfile.ZipFile(services.storage.path(str(result["archive"]))) as archive:
        assert archive.read("a.wav") == b"RIFF"


@pytest.mark.parametrize("role", ["preprocessor", "files"])
def test_a_version_of_a_data_set_that_waited_in_the_queue_of_the_preprocessor_is_made(
    services: WorkerServices, role: str
) -> None:
    upgrade(services.settings.resolved_database_url)
    services.queue.enqueue(NewJob(role, {"work": "dataset", "dataset_id": "ds-deleted", "version": 1}))

    with pytest.raises(JobCancelled, match="The data set ds-deleted is deleted"):
        run_next(services, role)


@pytest.mark.parametrize("role", ["splitter", "preprocessor", "files"])
def test_a_kind_that_nobody_knows_is_rejected_by_name(services: WorkerServices, role: str) -> None:
    services.queue.enqueue(NewJob(role, {"work": "juggle"}))

    with pytest.raises(InvalidRequest, match="juggle"):
        run_next(services, role)
