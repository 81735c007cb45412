"""The log of a job: its own file, from every thread, bounded, and told to who watches."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.storage_keys import log_file
from core.jobs import logs as job_logs
from core.jobs.job import Job
from core.jobs.logs import JobLogs, read_job_log
from core.logs import current_request
from core.storage import Storage

JOB = Job("exp-1.asr.1", "preprocessor", {"stage": "asr"}, topic="task-1")
logger = logging.getLogger("a.test")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


@pytest.fixture
def published() -> list[tuple[str, dict[str, Any]]]:
    return []


@pytest.fixture
def logs(storage: Storage, published: list[tuple[str, dict[str, Any]]]) -> Iterator[JobLogs]:
    handler = JobLogs(storage, lambda topic, line: published.append((topic, dict(line))))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    handler.close()


def messages(storage: Storage, job_id: str = JOB.id) -> list[str]:
    return [line.message for line in read_job_log(storage, job_id)]


def test_what_is_logged_while_a_job_is_held_is_its_own(logs, storage):
    logger.info("Before.")
    with logs.capture(JOB):
        logger.info("Heard %d segments.", 3)
    logger.info("After.")

    [line] = read_job_log(storage, JOB.id)
    assert (line.message, line.level, line.job_id, line.stage) == ("Heard 3 segments.", "INFO", JOB.id, "asr")
    assert storage.exists("logs/exp-1/asr.1.jsonl")


def test_threads_beside_the_work_write_into_the_same_log(logs, storage):
    with logs.capture(JOB):
        thread = threading.Thread(target=logger.info, args=("From beside.",))
        thread.start()
        thread.join()

    assert messages(storage) == ["From beside."]


def test_a_second_attempt_goes_on_in_the_same_log(logs, storage):
    for attempt in (1, 2):
        with logs.capture(JOB):
            logger.info("Attempt %d.", attempt)

    assert messages(storage) == ["Attempt 1.", "Attempt 2."]


def test_a_failure_brings_its_traceback(logs, storage):
    with logs.capture(JOB):
        try:
            raise ValueError("no")
        except ValueError:
            logger.exception("The job failed.")

    [line] = read_job_log(storage, JOB.id)
    assert line.message.startswith("The job failed.\nTraceback")
    assert line.message.endswith("ValueError: no")


def test_a_log_that_grows_too_long_loses_its_older_half(logs, storage, monkeypatch):
    monkeypatch.setattr(job_logs, "MAX_BYTES", 2000)

    with logs.capture(JOB):
        for number in range(100):
            logger.info("Line %d.", number)

    kept = messages(storage)
    assert kept[-1] == "Line 99."
    assert 5 < len(kept) < 30
    assert storage.size(log_file(JOB.id)) < 2500


def test_half_a_line_of_a_killed_worker_is_passed_over(logs, storage):
    with logs.capture(JOB):
        logger.info("Whole.")
    with storage.path(log_file(JOB.id)).open("ab") as file:
        file.write(b'{"timestamp": 1.0, "lev')

    assert messages(storage) == ["Whole."]


def test_lines_are_told_to_who_watches_the_job_or_its_task(logs, published):
    with logs.capture(JOB):
        logger.info("Heard.")
    logs.close()

    assert [(topic, line["message"]) for topic, line in published] == [
        ("log.exp-1.asr.1", "Heard."),
        ("log.task-1", "Heard."),
    ]


def test_a_queue_that_is_away_costs_no_line(storage):
    def away(topic: str, line: dict[str, Any]) -> None:
        raise ConnectionError("away")

    handler = JobLogs(storage, away)
    logger.addHandler(handler)
    with handler.capture(JOB):
        logger.warning("Written all the same.")
    logger.removeHandler(handler)
    handler.close()

    assert messages(storage) == ["Written all the same."]


def test_a_log_that_cannot_be_written_does_not_stop_the_job(logs, storage):
    storage.put_bytes("logs/exp-1", b"a file where a folder should be")

    with logs.capture(JOB):
        logger.info("Said.")

    assert not storage.path("logs/exp-1").is_dir()


def test_nothing_was_logged_for_an_unknown_job(storage):
    assert read_job_log(storage, "job-none") == []


def test_where_others_read_the_storage_the_log_is_published_when_the_job_ends(storage, monkeypatch):
    published: list[str] = []
    publish = storage.publish
    monkeypatch.setattr(storage, "publish", lambda path, key: (published.append(key), publish(path, key)))
    handler = JobLogs(storage, shared=True)
    logger.addHandler(handler)

    with handler.capture(JOB):
        logger.warning("Said.")
    with handler.capture(Job("job-quiet", "preprocessor", {})):
        assert published == [log_file(JOB.id)]
    logger.removeHandler(handler)

    assert published == [log_file(JOB.id)], "a job that logged nothing has no log"
    assert messages(storage) == ["Said."]


def test_jobs_that_a_job_enqueues_belong_to_its_request(logs):
    with logs.capture(Job("job-1", "splitter", {}, request_id="req-1")):
        inside = current_request.get()

    assert (inside, current_request.get()) == ("req-1", "")


def test_the_log_of_a_job_that_another_slot_took_over_stays_when_the_first_one_ends(logs, storage):
    first = logs.capture(JOB)
    first.__enter__()
    with logs.capture(JOB):
        first.__exit__(None, None, None)
        logger.info("Still here.")

    assert messages(storage) == ["Still here."]
