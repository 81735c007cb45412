"""Jobs that are stopped while their worker drains, whose records ended them, and what they logged."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from job_waiting import wait_for_job
from running_worker import Running

from core.errors import JobCancelled
from core.jobs.job import Job, JobStatus, NewJob
from core.jobs.logs import log_topic, read_job_log
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices

Work = Callable[..., Running]


def test_a_cancel_during_a_drain_stops_the_job_and_hands_nothing_back(services: WorkerServices, work: Work):
    started, stopped = threading.Event(), threading.Event()

    def act(job: Job, context: JobContext) -> dict[str, Any]:
        context.on_stop(stopped.set)
        started.set()
        assert context.draining.wait(20)
        assert stopped.wait(20)  # a training that takes its time to save its state
        context.check()
        return {}

    running = work(act)
    job = services.queue.enqueue(NewJob("splitter", {}))
    started.wait(20)
    running.worker.drain()

    services.queue.cancel(job.id)

    assert wait_for_job(services.queue, job.id, timeout=20).status is JobStatus.CANCELLED
    running.thread.join(20)
    assert services.queue.depths()["splitter"] == 0


def test_a_run_that_its_records_ended_is_over_although_nobody_told_the_queue(services: WorkerServices, work: Work):
    runs: list[str] = []

    def act(job: Job, context: JobContext) -> dict[str, Any]:
        runs.append(job.id)
        raise JobCancelled("run 1 of asr is paused")

    work(act)
    job = services.queue.enqueue(NewJob("splitter", {}))

    assert wait_for_job(services.queue, job.id, timeout=20).status is JobStatus.CANCELLED
    assert runs == [job.id]


def test_what_a_job_logs_is_read_by_its_id(services: WorkerServices, work: Work, caplog):
    caplog.set_level(logging.INFO)

    def act(job: Job, context: JobContext) -> dict[str, Any]:
        beside = threading.Thread(target=logging.getLogger("a.training").info, args=("Epoch 1.",))
        beside.start()
        beside.join()
        return {}

    running = work(act, name="trainer")
    job = services.queue.enqueue(NewJob("trainer", {"stage": "gpt_train"}, topic="task-1"))
    wait_for_job(services.queue, job.id, timeout=20)
    running.drain()

    messages = [line.message for line in read_job_log(services.storage, job.id) if line.stage == "gpt_train"]
    assert messages[:2] == ["Claimed the job, attempt 1.", "Epoch 1."]
    published = [event.data["message"] for event in services.queue.event_history(log_topic("task-1"))]
    assert published == messages
