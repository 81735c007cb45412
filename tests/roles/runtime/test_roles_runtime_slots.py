"""A worker process with several slots, each of which is a worker to the queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from job_waiting import wait_for_job
from running_worker import Running

from core.jobs.job import Job, JobStatus, NewJob, StreamPart
from core.jobs.roles import SYNTHESIZER
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices

Work = Callable[..., Running]


class Together:
    """A role's run that goes on when so many jobs run at once."""

    def __init__(self, count: int) -> None:
        self.workers: dict[str, str] = {}
        self.started = threading.Barrier(count + 1, timeout=20)
        self.finish = threading.Event()

    def __call__(self, job: Job, context: JobContext) -> dict[str, Any]:
        self.workers[job.id] = context.lease.worker_id
        context.on_stop(self.finish.set)
        self.started.wait()
        assert self.finish.wait(20)
        context.check()
        logging.getLogger("role").warning("said by %s", job.id)
        return {"by": context.lease.worker_id}


def test_jobs_run_at_once_each_under_a_worker_of_its_own(services: WorkerServices, work: Work):
    together = Together(3)
    running = work(together, slots=3)
    jobs = [services.queue.enqueue(NewJob("splitter", {}, job_id=f"job-{number}")) for number in range(4)]
    together.started.wait()

    held = {worker.id: worker.job for worker in services.queue.workers()}
    assert set(held.values()) == {"job-0", "job-1", "job-2"}
    assert set(held) == set(running.worker.slots.worker_ids)
    assert services.queue.depths()["splitter"] == 1

    together.started = threading.Barrier(1)
    together.finish.set()
    results = [wait_for_job(services.queue, job.id, timeout=10).result for job in jobs]
    assert [result and result["by"] for result in results] == [together.workers[job.id] for job in jobs]


def test_the_jobs_of_all_slots_of_a_dead_process_go_back(services: WorkerServices, work: Work):
    together = Together(3)
    running = work(together, slots=3)
    for number in range(3):
        services.queue.enqueue(NewJob("splitter", {}, job_id=f"job-{number}"))
    together.started.wait()

    rescued = services.queue.rescue_worker(running.worker.worker_id)

    assert {job.job_id for job in rescued} == {"job-0", "job-1", "job-2"}
    together.started = threading.Barrier(1)
    assert [wait_for_job(services.queue, f"job-{number}", timeout=10).rescues for number in range(3)] == [1, 1, 1]


def test_a_cancel_stops_its_job_at_once_and_no_other(
    services: WorkerServices, work: Work, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("roles.runtime.heartbeat.HEARTBEAT_SECONDS", 3.0)  # a fifth of the lease: long enough to see
    stopped = {"a": threading.Event(), "b": threading.Event()}
    started = threading.Barrier(3, timeout=20)

    def act(job: Job, context: JobContext) -> dict[str, Any]:
        context.on_stop(stopped[job.id].set)
        started.wait()
        assert stopped[job.id].wait(20)
        context.check()
        return {}

    running = work(act, slots=2)
    for job_id in stopped:
        services.queue.enqueue(NewJob("splitter", {}, job_id=job_id))
    started.wait()
    running.worker.heartbeat._renew = lambda: None  # type: ignore[method-assign]  # only the announcement is left

    services.queue.cancel("b")

    assert stopped["b"].wait(10)
    assert wait_for_job(services.queue, "b", timeout=10).status is JobStatus.CANCELLED
    assert not stopped["a"].is_set()
    stopped["a"].set()
    assert wait_for_job(services.queue, "a", timeout=10).status is JobStatus.DONE


def test_a_line_belongs_to_the_job_of_its_slot(services: WorkerServices, work: Work):
    together = Together(2)
    work(together, slots=2)
    for job_id in ("job-a", "job-b"):
        services.queue.enqueue(NewJob("splitter", {}, job_id=job_id))
    together.started.wait()
    together.finish.set()
    for job_id in ("job-a", "job-b"):
        wait_for_job(services.queue, job_id, timeout=10)
        text = services.storage.path(f"logs/{job_id}.jsonl").read_text()
        other = "job-b" if job_id == "job-a" else "job-a"
        assert f"said by {job_id}" in text
        assert f"said by {other}" not in text


def test_a_synthesizer_that_drains_still_speaks_what_continues_a_stream(services: WorkerServices, work: Work):
    started, finish = threading.Event(), threading.Event()

    def act(job: Job, context: JobContext) -> dict[str, Any]:
        if job.id == "speech-1.0":
            started.set()
            assert finish.wait(20)
        return {}

    running = work(act, name=SYNTHESIZER, slots=2)
    queue = services.queue
    queue.enqueue(NewJob(SYNTHESIZER, {}, job_id="speech-1.0", stream=StreamPart.OPENING))
    assert started.wait(20)
    running.worker.drain()
    queue.enqueue(NewJob(SYNTHESIZER, {}, job_id="speech-2.0", stream=StreamPart.OPENING))
    queue.enqueue(NewJob(SYNTHESIZER, {}, job_id="infer-1.0"))
    queue.enqueue(NewJob(SYNTHESIZER, {}, job_id="speech-1.1", stream=StreamPart.CONTINUATION))

    assert wait_for_job(queue, "speech-1.1", timeout=20).status is JobStatus.DONE
    finish.set()
    assert wait_for_job(queue, "speech-1.0", timeout=20).status is JobStatus.DONE
    running.drain()

    waiting = [queue.job(job_id) for job_id in ("speech-2.0", "infer-1.0")]
    assert [job and job.status for job in waiting] == [JobStatus.WAITING, JobStatus.WAITING]
