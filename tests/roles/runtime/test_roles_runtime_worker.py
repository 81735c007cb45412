"""What a worker does with a job, however it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from job_waiting import wait_for_job
from running_worker import Running

from core.errors import Draining, InvalidRequest, MissingPart, SovitsError
from core.jobs.job import Job, JobStatus, LeaseStatus, NewJob
from roles.runtime.registry import ROLES, make_role
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices

Work = Callable[..., Running]


def returning(result: dict[str, Any]) -> Callable[[Job, JobContext], dict[str, Any]]:
    return lambda job, context: result


def raising(error: Exception) -> Callable[[Job, JobContext], dict[str, Any]]:
    def act(job: Job, context: JobContext) -> dict[str, Any]:
        raise error

    return act


def test_a_result_is_kept_with_its_job(services: WorkerServices, work: Work):
    work(returning({"answer": 42}))

    job = services.queue.enqueue(NewJob("splitter", {"question": "?"}))

    done = wait_for_job(services.queue, job.id, timeout=20)
    assert (done.status, done.result) == (JobStatus.DONE, {"answer": 42})


def test_an_error_is_tried_again_as_often_as_the_settings_say(services: WorkerServices, work: Work):
    running = work(raising(SovitsError("It went wrong.", hint="Try again.")))

    job = services.queue.enqueue(NewJob("splitter", {}))
    promoting = threading.Event()
    while (ended := services.queue.job(job.id)) is None or not ended.status.terminal:
        services.queue.promote()
        promoting.wait(0.02)

    assert (ended.status, ended.attempts) == (JobStatus.DEAD, 3)
    assert ended.error is not None
    assert ended.error["message"] == "It went wrong."
    assert running.role.calls.count("run") == 3


def test_the_end_of_all_attempts_is_a_line_that_operators_know(
    services: WorkerServices, work: Work, caplog: pytest.LogCaptureFixture
):
    running = work(raising(MissingPart("Never.")))

    job = services.queue.enqueue(NewJob("splitter", {}))
    wait_for_job(services.queue, job.id, timeout=20)
    running.drain()  # the line comes after the event

    assert "Task failed after 1 attempts, moving to dead letter queue." in caplog.text


def test_a_mistake_of_the_caller_is_no_dead_letter_and_no_error_in_the_log(
    services: WorkerServices, work: Work, caplog: pytest.LogCaptureFixture
):
    running = work(raising(InvalidRequest("The text is empty.")))

    job = services.queue.enqueue(NewJob("splitter", {}))
    ended = wait_for_job(services.queue, job.id, timeout=20)
    running.drain()

    assert ended.error is not None
    assert (ended.status, ended.error["message"]) == (JobStatus.DEAD, "The text is empty.")
    assert services.queue.dead_letters() == []
    assert services.queue.depths()["dead"] == 0
    assert services.queue.counters()["rejected"] == 1
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_permanent_error_is_not_tried_again(services: WorkerServices, work: Work):
    running = work(raising(InvalidRequest("It will never go right.")))

    job = services.queue.enqueue(NewJob("splitter", {}))

    dead = wait_for_job(services.queue, job.id, timeout=20)
    assert dead.status is JobStatus.DEAD
    assert dead.error is not None
    assert dead.error["code"] == "invalid_request"
    assert running.role.calls.count("run") == 1


def test_a_crash_in_a_role_is_an_error_of_its_job_and_the_worker_goes_on(services: WorkerServices, work: Work):
    def act(job: Job, context: JobContext) -> dict[str, Any]:
        return {"quotient": 1 / cast(int, job.payload["by"])}

    work(act)
    broken = services.queue.enqueue(NewJob("splitter", {"by": 0}))

    whole = services.queue.enqueue(NewJob("splitter", {"by": 2}))

    assert wait_for_job(services.queue, whole.id, timeout=20).result == {"quotient": 0.5}
    failed = services.queue.job(broken.id)
    assert failed is not None
    assert failed.error is not None
    assert failed.error["message"] == "ZeroDivisionError: division by zero"


def test_a_cancel_interrupts_the_job_and_calls_its_callbacks(services: WorkerServices, work: Work):
    started, stopped = threading.Event(), threading.Event()

    def act(job: Job, context: JobContext) -> dict[str, Any]:
        context.on_stop(stopped.set)
        started.set()
        assert stopped.wait(20)
        context.check()
        return {}

    work(act)
    job = services.queue.enqueue(NewJob("splitter", {}))
    assert started.wait(20)

    services.queue.cancel(job.id)

    assert stopped.wait(20)
    assert wait_for_job(services.queue, job.id, timeout=20).status is JobStatus.CANCELLED


def test_whatever_a_cancelled_job_dies_of_it_was_cancelled(services: WorkerServices, work: Work):
    started, stopped = threading.Event(), threading.Event()

    def act(job: Job, context: JobContext) -> dict[str, Any]:
        context.on_stop(stopped.set)
        started.set()
        stopped.wait(20)
        raise SovitsError("The training process was killed by signal SIGKILL.")

    work(act)
    job = services.queue.enqueue(NewJob("splitter", {}))
    started.wait(20)

    services.queue.cancel(job.id)

    assert wait_for_job(services.queue, job.id, timeout=20).status is JobStatus.CANCELLED


def test_a_drain_hands_back_a_job_that_asks_for_it(services: WorkerServices, work: Work):
    started = threading.Event()

    def act(job: Job, context: JobContext) -> dict[str, Any]:
        started.set()
        assert context.draining.wait(20)
        raise Draining("The state is saved.")

    running = work(act)
    job = services.queue.enqueue(NewJob("splitter", {}))
    started.wait(20)

    running.drain()

    waiting = services.queue.job(job.id)
    assert waiting is not None
    assert (waiting.status, waiting.attempts, waiting.rescues) == (JobStatus.WAITING, 0, 0)
    assert running.role.calls[-1] == "stop"
    assert services.queue.workers() == []


def test_ten_drains_in_a_row_count_nothing(services: WorkerServices, work: Work):
    started = threading.Event()

    def act(job: Job, context: JobContext) -> dict[str, Any]:
        started.set()
        context.draining.wait(20)
        raise Draining("The state is saved.")

    job = services.queue.enqueue(NewJob("splitter", {}))
    for _ in range(10):
        started.clear()
        running = work(act)
        assert started.wait(20)
        running.drain()

    work(returning({"patience": True}))
    done = wait_for_job(services.queue, job.id, timeout=20)
    assert (done.status, done.attempts, done.rescues) == (JobStatus.DONE, 0, 0)


def test_a_drained_worker_takes_no_more_jobs(services: WorkerServices, work: Work):
    running = work(returning({}))
    running.drain()

    job = services.queue.enqueue(NewJob("splitter", {}))

    waiting = services.queue.job(job.id)
    assert waiting is not None
    assert waiting.status is JobStatus.WAITING
    assert services.queue.depths()["splitter"] == 1


def test_progress_reaches_the_job_and_its_topic(services: WorkerServices, work: Work):
    def act(job: Job, context: JobContext) -> dict[str, Any]:
        context.progress(0.25, "A quarter.", epoch=1)
        context.progress(0.26, "Too soon to tell.")
        context.progress(1.0, "All.")
        context.event("checkpoint", {"epoch": 1})
        return {}

    work(act)
    job = services.queue.enqueue(NewJob("splitter", {}, topic="task-1"))
    wait_for_job(services.queue, job.id, timeout=20)

    history = services.queue.event_history("task-1")
    events = [(event.kind, event.data.get("progress"), event.data.get("message")) for event in history]
    assert events[:3] == [
        ("progress", 0.25, "A quarter."),
        ("progress", 1.0, "All."),
        ("checkpoint", None, None),
    ]
    assert history[0].data["epoch"] == 1


def test_a_lost_lease_stops_the_job_and_its_late_result_is_refused(services: WorkerServices, work: Work):
    started, stopped = threading.Event(), threading.Event()

    def act(job: Job, context: JobContext) -> dict[str, Any]:
        if stopped.is_set():
            return {"late": False}
        context.on_stop(stopped.set)
        started.set()
        stopped.wait(20)
        return {"late": True}

    running = work(act)
    job = services.queue.enqueue(NewJob("splitter", {}))
    started.wait(20)

    services.queue.rescue_worker(running.worker.worker_id)

    assert stopped.wait(20)
    done = wait_for_job(services.queue, job.id, timeout=20)
    assert (done.result, done.rescues) == ({"late": False}, 1)


def test_a_worker_shows_itself_to_operators_while_it_works(services: WorkerServices, work: Work):
    started, finish = threading.Event(), threading.Event()

    def act(job: Job, context: JobContext) -> dict[str, Any]:
        started.set()
        finish.wait(20)
        return {}

    running = work(act)
    services.queue.enqueue(NewJob("splitter", {}))
    started.wait(20)

    (shown,) = services.queue.workers()
    finish.set()

    assert (shown.id, shown.role, shown.device) == (running.worker.worker_id, "splitter", "cpu")


def test_a_callback_registered_after_the_stop_is_called_at_once(services: WorkerServices):
    services.queue.enqueue(NewJob("splitter", {}))
    lease = services.queue.claim("splitter", "worker-1")
    assert lease is not None
    context = JobContext(lease, services, threading.Event())
    context.update_lease(LeaseStatus.CANCEL)
    late = threading.Event()

    context.on_stop(late.set)

    assert late.is_set()


def test_a_broken_callback_does_not_keep_others_from_stopping(
    services: WorkerServices, caplog: pytest.LogCaptureFixture
):
    services.queue.enqueue(NewJob("splitter", {}))
    lease = services.queue.claim("splitter", "worker-1")
    assert lease is not None
    context = JobContext(lease, services, threading.Event())
    called = threading.Event()
    context.on_stop(lambda: 1 / 0)
    context.on_stop(called.set)

    context.update_lease(LeaseStatus.LOST)

    assert called.is_set()
    assert "A callback of a stopping job failed." in caplog.text


def test_every_role_has_a_class_and_an_unknown_one_is_named():
    assert set(ROLES) == {"splitter", "synthesizer", "preprocessor", "trainer", "files"}
    with pytest.raises(SovitsError, match=r"No role is named 'singer'; there are splitter"):
        make_role("singer")


def test_a_coroutine_runs_beside_the_synchronous_role(services: WorkerServices):
    async def double(number: int) -> int:
        return number * 2

    assert services.call(double, 21) == 42


def test_threads_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, server: Any, settings: Any):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")

    services = WorkerServices(settings, server.url)

    assert services.threads == 3
    services.close()
