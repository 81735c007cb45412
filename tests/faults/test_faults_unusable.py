"""A worker that cannot work is not ready: its jobs go back uncounted, others serve, and the service goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import orjson
import pytest
from daemon_stage import REPOSITORY, Stage, until
from faulty_daemon import FaultyDaemon

from core.jobs.job import NewJob
from core.jobs.placement_reports import PlacementReports
from core.jobs.worker_process import CANNOT_START

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="daemons tie their children with prctl"),
]


def test_a_worker_whose_cuda_context_is_poisoned_is_replaced_and_its_job_released_uncounted(
    distant: FaultyDaemon, stage: Stage
):
    distant.launch(role_class="toy_roles:Poisoned")
    job = distant.queue.enqueue(NewJob("splitter", {"how": "poison"}))
    first = stage.next_run()

    distant.wait_for("cannot work: its device is lost: RuntimeError: CUDA error: device-side assert triggered")
    second = stage.next_run()

    assert second.pid != first.pid
    assert (second.attempts, second.rescues) == (0, 0)
    distant.queue.cancel(job.id)


def test_a_worker_that_fails_job_after_job_at_once_is_replaced_and_the_last_job_is_not_counted(
    distant: FaultyDaemon, stage: Stage
):
    distant.launch(WORKER_RETRY_ATTEMPTS="1")
    jobs = [distant.queue.enqueue(NewJob("splitter", {"how": "crash"})) for _ in range(5)]

    runs = [stage.next_run() for _ in range(5)]
    distant.wait_for("5 different jobs in a row failed at once, the last one with: ZeroDivisionError")
    again = stage.next_run()

    assert {run.pid for run in runs} != {again.pid}
    assert (again.job, again.attempts) == (jobs[-1].id, 0)


def test_failures_of_the_callers_own_jobs_are_no_fault_of_the_worker(distant: FaultyDaemon, stage: Stage):
    distant.launch()
    jobs = [distant.queue.enqueue(NewJob("splitter", {"how": "refuse"})) for _ in range(8)]
    for _ in jobs:
        stage.next_run()

    healthy = distant.queue.enqueue(NewJob("splitter", {}))

    assert distant.finished(healthy.id).result == {"pid": stage.next_run().pid}
    assert not any("cannot work" in line for line in distant.lines)


def test_a_placement_that_cannot_start_is_disabled_with_the_reason_and_the_service_goes_on(
    distant: FaultyDaemon, stage: Stage
):
    roles = "splitter=toy_roles:Toy,synthesizer=toy_roles:Broken"
    distant.launch("--roles", "splitter,synthesizer", ready=False, SOVITSD_ROLE_CLASSES=roles)

    distant.wait_for(r"Worker.* cannot start \(3 times in a row\).*The engine is missing. Install it.* It is disabled")
    distant.wait_for("processes are ready, without Worker")
    job = distant.queue.enqueue(NewJob("splitter", {}))
    stage.next_run()
    distant.finished(job.id)
    reports = PlacementReports(distant.queue.transport, distant.queue.prefix)
    problem = until(lambda: [problem for problem in reports.problems() if problem.disabled])[0]
    ready = until(lambda: _ready(distant.folder), what="the API")
    doctor = subprocess.run(
        [sys.executable, str(REPOSITORY / "main.py"), "doctor"],
        env=distant.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (problem.role, "The engine is missing. Install it." in problem.reason) == ("synthesizer", True)
    assert ready.status_code == 503
    assert "The engine is missing. Install it." in ready.json()["checks"]["synthesizer"]
    assert f"{problem}" in doctor.stdout


def test_a_device_that_cannot_be_used_keeps_its_worker_from_ever_being_ready(distant: FaultyDaemon):
    distant.launch()
    worker = subprocess.run(
        [sys.executable, str(REPOSITORY / "main.py"), "work", "splitter", "--device", "cuda:7"],
        env={**distant.environment, "SOVITSD_ROLE_CLASSES": "", "CUDA_VISIBLE_DEVICES": "7"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert worker.returncode == CANNOT_START
    assert "The role splitter cannot start: its device cuda:7 cannot be used" in worker.stderr
    assert [info.device for info in distant.queue.workers()] == ["cpu"]


def _ready(folder: Path) -> httpx.Response | None:
    try:
        url = orjson.loads((folder / "run" / "api.json").read_bytes())["url"]
        return httpx.get(f"{url}/readyz", timeout=10)
    except (OSError, httpx.TransportError):
        return None
