"""A worker process with several slots, each of which is a worker to the queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from daemon_stage import until
from job_waiting import wait_for_job
from running_worker import Running

from core.errors import error_message
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
    results = [wait_for_job(services.queue, job.id, timeout=20).result for job in jobs]
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
    assert [wait_for_job(services.queue, f"job-{number}", timeout=20).rescues for number in range(3)] == [1, 1, 1]


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
    channel = services.queue.key("cancels")
    until(lambda: services.queue.transport.client.pubsub_numsub(channel)[0][1] == 1, what="the worker to listen")
    running.worker.heartbeat._renew = lambda: None  # type: ignore[method-assign]  # only the announcement is left

    services.queue.cancel("b")

    assert stopped["b"].wait(20)
    assert wait_for_job(services.queue, "b", timeout=20).status is JobStatus.CANCELLED
    assert not stopped["a"].is_set()
    stopped["a"].set()
    assert wait_for_job(services.queue, "a", timeout=20).status is JobStatus.DONE


def test_a_line_belongs_to_the_job_of_its_slot(services: WorkerServices, work: Work):
    together = Together(2)
    work(together, slots=2)
    for job_id in ("job-a", "job-b"):
        services.queue.enqueue(NewJob("splitter", {}, job_id=job_id))
    together.started.wait()
    together.finish.set()
    for job_id in ("job-a", "job-b"):
        wait_for_job(services.queue, job_id, timeout=20)
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


def test_an_end_that_cannot_be_reported_ends_the_worker_once_its_other_slots_have_finished(
    services: WorkerServices, work: Work
):
    finish = threading.Event()
    started = threading.Barrier(3, timeout=20)
    broken = threading.Event()

    def act(job: Job, context: JobContext) -> dict[str, Any]:
        started.wait()
        assert (broken if job.id == "a" else finish).wait(20)
        return {}

    running = work(act, slots=2)
    client, leases = services.queue.transport.client, services.queue.key("leases")
    for job_id in ("a", "b"):
        services.queue.enqueue(NewJob("splitter", {}, job_id=job_id))
    started.wait()
    client.rename(leases, f"{leases}-elsewhere")
    client.set(leases, "no sorted set")
    broken.set()
    assert running.worker.draining.wait(20)
    client.rename(f"{leases}-elsewhere", leases)
    finish.set()
    running.thread.join(20)

    assert not running.thread.is_alive()
    assert running.worker.unusable.startswith("it could not report how a ended: ResponseError: WRONGTYPE")
    handed_back, done = services.queue.job("a"), services.queue.job("b")
    assert handed_back is not None
    assert (handed_back.status, handed_back.attempts, handed_back.rescues) == (JobStatus.WAITING, 0, 0)
    assert done is not None
    assert done.status is JobStatus.DONE


@pytest.mark.parametrize("slots", [1, 2])
def test_a_result_that_is_no_json_is_a_failed_attempt_of_the_job(services: WorkerServices, work: Work, slots: int):
    running = work(lambda job, context: {"set": {1}} if job.id == "a" else {}, slots=slots)
    services.queue.enqueue(NewJob("splitter", {}, job_id="a"))
    services.queue.enqueue(NewJob("splitter", {}, job_id="b"))

    assert wait_for_job(services.queue, "b", timeout=20).status is JobStatus.DONE
    until(lambda: services.queue.counters().get("failed") == 1)

    job = services.queue.job("a")
    assert job is not None
    assert (job.status, job.attempts, job.rescues) == (JobStatus.DELAYED, 1, 0)
    assert error_message(job.error) == "The result of the job is no JSON: Type is not JSON serializable: set."
    assert running.thread.is_alive()


def test_a_job_that_was_cancelled_and_replayed_is_not_stopped_by_the_old_announcement(
    services: WorkerServices, work: Work
):
    started = threading.Event()
    again: list[str] = []

    def act(job: Job, context: JobContext) -> dict[str, Any]:
        if not started.is_set():
            stopped = threading.Event()
            context.on_stop(stopped.set)
            started.set()
            assert stopped.wait(20)
        context.check()
        again.append(job.id)
        return {}

    work(act, slots=2)
    services.queue.enqueue(NewJob("splitter", {}, job_id="a"))
    assert started.wait(20)
    services.queue.cancel("a")
    assert wait_for_job(services.queue, "a", timeout=20).status is JobStatus.CANCELLED

    assert services.queue.replay("a", include_cancelled=True)

    assert wait_for_job(services.queue, "a", timeout=20).status is JobStatus.DONE
    assert again == ["a"]
