"""What the daemon survives: real processes, a real queue server, kill -9."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from daemon_stage import Daemon, Stage, until
from job_waiting import wait_for_job
from process_children import children_of
from process_end import wait_for_end

from core.jobs.job import Job, JobStatus, NewJob
from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions
from core.jobs.worker_process import CANNOT_START
from core.redis import connect
from core.redis_server import EmbeddedServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc and uses pidfds"),
]

MAIN = Path(__file__).resolve().parents[2] / "main.py"
TOYS = str(Path(__file__).resolve().parents[1])


def finished(daemon: Daemon, job_id: str, status: JobStatus = JobStatus.DONE) -> Job:
    """Return the job, once it ended so."""
    job = wait_for_job(daemon.queue, job_id, timeout=20)
    assert job.status is status
    return job


def child(daemon: Daemon, word: str) -> int:
    """Return the pid of the daemon's child whose command line holds a word."""
    return next(pid for pid, command in children_of(daemon.pid).items() if word in command)


def test_a_worker_killed_in_the_middle_of_a_job_is_replaced_and_the_job_is_done_once(daemon: Daemon, stage: Stage):
    daemon.start()
    job = daemon.queue.enqueue(NewJob("splitter", {"how": "wait"}))
    first = stage.next_run()

    os.kill(first.pid, signal.SIGKILL)

    second = stage.next_run(seconds=20)
    second.go_on()
    done = finished(daemon, job.id)
    assert done.result == {"pid": second.pid}
    assert (done.attempts, done.rescues) == (0, 1)
    assert stage.is_empty()
    daemon.wait_for("Recovered 1 pending tasks from processing queue")
    daemon.wait_for("Restarting Splitter after unexpected exit")


def test_a_worker_killed_while_it_waits_is_replaced(daemon: Daemon, stage: Stage):
    daemon.start()
    idle = child(daemon, "work splitter")

    os.kill(idle, signal.SIGKILL)
    daemon.wait_for("Restarting Splitter after unexpected exit")

    job = daemon.queue.enqueue(NewJob("splitter", {}))
    assert stage.next_run().pid != idle
    assert finished(daemon, job.id).rescues == 0


def test_nothing_outlives_a_killed_supervisor_and_the_next_one_goes_on(daemon: Daemon, stage: Stage):
    daemon.start("--roles", "splitter")
    job = daemon.queue.enqueue(NewJob("splitter", {"how": "wait"}))
    first = stage.next_run()
    children = children_of(daemon.pid)
    assert len(children) == 3, children  # the queue server, the API and the splitter

    daemon.kill()

    assert [pid for pid in children if not wait_for_end(pid, 20)] == []
    daemon.start()
    second = stage.next_run()
    second.go_on()
    done = finished(daemon, job.id)
    assert second.pid != first.pid
    assert (done.attempts, done.rescues) == (0, 1)


def test_a_job_survives_the_queue_server(daemon: Daemon, stage: Stage):
    daemon.start()
    job = daemon.queue.enqueue(NewJob("splitter", {"how": "wait"}))
    run = stage.next_run()

    os.kill(child(daemon, "valkey"), signal.SIGKILL)
    run.go_on()  # it ends while there is nobody to tell
    daemon.wait_for("The queue server runs again")

    done = finished(daemon, job.id)
    assert done.result == {"pid": run.pid}
    assert (done.attempts, done.rescues) == (0, 0)
    assert stage.is_empty()


def test_a_queue_server_that_does_not_start_again_at_once_is_tried_until_it_does(daemon: Daemon, stage: Stage):
    daemon.start()
    job = daemon.queue.enqueue(NewJob("splitter", {"how": "wait"}))
    run = stage.next_run()
    server = child(daemon, "valkey")

    os.kill(daemon.pid, signal.SIGSTOP)
    os.kill(server, signal.SIGKILL)
    with (daemon.folder / "redis" / "lock").open("rb") as lock:
        until(lambda: _takes_lock(lock), what="the server to leave its folder")
        os.kill(daemon.pid, signal.SIGCONT)
        daemon.wait_for("in use by another queue server.* It is tried again in 2 s")
        run.go_on()
    daemon.wait_for("The queue server runs again")

    assert finished(daemon, job.id).result == {"pid": run.pid}


def _takes_lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_a_killed_api_comes_back(daemon: Daemon):
    daemon.start("--roles", "splitter")
    first = child(daemon, "main.py api")

    os.kill(first, signal.SIGKILL)

    again = daemon.wait_for("Restarting API after unexpected exit")
    daemon.wait_for("Starting API", after=again)

    def announced() -> int:
        try:
            return int(json.loads((daemon.folder / "run" / "api.json").read_bytes())["pid"])
        except (OSError, ValueError):
            return first

    until(lambda: announced() != first, what="the API to listen again")
    assert announced() == child(daemon, "main.py api")


def test_a_worker_that_slept_past_its_lease_cannot_hand_in_its_result(daemon: Daemon, stage: Stage):
    daemon.start(LEASE_SECONDS="1")
    job = daemon.queue.enqueue(NewJob("splitter", {"how": "wait_deaf"}))
    sleeper = stage.next_run()

    os.kill(sleeper.pid, signal.SIGSTOP)
    until(lambda: cast(Job, daemon.queue.job(job.id)).status is JobStatus.WAITING)
    sleeper.go_on()
    os.kill(sleeper.pid, signal.SIGCONT)

    daemon.wait_for("has the job now|lease on the job .* was lost|Gave the job up")
    assert cast(Job, daemon.queue.job(job.id)).status is not JobStatus.DONE
    stage.next_run().go_on()
    assert finished(daemon, job.id).rescues == 1


def test_a_job_that_kills_its_workers_is_a_dead_letter_until_it_is_replayed(daemon: Daemon, stage: Stage):
    daemon.start()
    job = daemon.queue.enqueue(NewJob("splitter", {"how": "die_thrice"}))
    for _ in range(3):
        stage.next_run().go_on(b"x")
    finished(daemon, job.id, JobStatus.DEAD)
    assert [letter.job_id for letter in daemon.queue.dead_letters()] == [job.id]
    assert cast(Job, daemon.queue.job(job.id)).rescues == 3

    replayed = run_main(daemon, "queue", "replay", job.id)

    assert replayed.stdout == f"{job.id} waits to run again.\n"
    stage.next_run().go_on()
    finished(daemon, job.id)
    assert daemon.queue.dead_letters() == []
    assert run_main(daemon, "queue", "replay", job.id).returncode == 1


def test_a_drain_loses_no_job_and_counts_nothing(daemon: Daemon, stage: Stage):
    daemon.start()
    jobs = [daemon.queue.enqueue(NewJob("splitter", {"how": "wait"})) for _ in range(4)]
    running = stage.next_run()

    os.kill(daemon.pid, signal.SIGTERM)
    daemon.wait_for("Asked Splitter.* to end")  # or it would claim another job before it hears of the drain
    running.go_on()
    assert daemon.wait() == 0

    assert stage.is_empty()
    daemon.start()
    for _ in jobs[1:]:
        stage.next_run().go_on()
    ended = [finished(daemon, job.id) for job in jobs]
    assert {(job.attempts, job.rescues) for job in ended} == {(0, 0)}
    assert {job.result["pid"] for job in ended if job.result} != {running.pid}


@pytest.mark.parametrize("how", ["wait", "wait_deaf"])
def test_speech_that_outlasts_a_drain_is_handed_back(daemon: Daemon, stage: Stage, how: str):
    daemon.start(DRAIN_SPEECH_SECONDS="0.5")
    job = daemon.queue.enqueue(NewJob("splitter", {"how": how}))
    stage.next_run()

    assert daemon.drain() == 0

    daemon.start()
    again = stage.next_run()
    assert (again.job, again.attempts, again.rescues) == (job.id, 0, 0)


@pytest.mark.parametrize("how", ["wait", "wait_deaf"])
def test_a_cancelled_job_stops_within_five_seconds(daemon: Daemon, stage: Stage, how: str):
    daemon.start()
    job = daemon.queue.enqueue(NewJob("splitter", {"how": how}))
    stage.next_run()

    daemon.queue.cancel(job.id)

    assert wait_for_job(daemon.queue, job.id, timeout=5).status is JobStatus.CANCELLED
    other = daemon.queue.enqueue(NewJob("splitter", {}))
    finished(daemon, other.id)


def test_a_role_that_cannot_start_stops_the_daemon_with_the_reason(daemon: Daemon):
    daemon.start(role_class="toy_roles:Broken", ready=False)

    assert daemon.wait() == 1
    assert any(
        "Splitter cannot start (3 times in a row)" in line and "The engine is missing. Install it." in line
        for line in daemon.lines
    )


def test_a_worker_by_hand_says_why_its_role_cannot_start(tmp_path: Path):
    answer = subprocess.run(
        [sys.executable, str(MAIN), "work", "splitter", "--role-class", "toy_roles:Broken"],
        env={**os.environ, "DATA_PATH": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:1", "PYTHONPATH": TOYS},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert answer.returncode == CANNOT_START
    assert answer.stderr == "The role splitter cannot start: The engine is missing. Install it.\n"


def test_a_daemon_with_an_api_drains_and_leaves_nothing_behind(daemon: Daemon):
    daemon.start("--roles", "splitter")
    children = children_of(daemon.pid)

    assert daemon.drain() == 0

    assert [pid for pid in children if not wait_for_end(pid, 20)] == []
    assert not (daemon.folder / "run" / "api.json").exists()


def test_whoever_asks_twice_does_not_wait_for_a_drain(daemon: Daemon, stage: Stage):
    daemon.start()
    job = daemon.queue.enqueue(NewJob("splitter", {"how": "wait_deaf"}))
    stage.next_run()

    os.kill(daemon.pid, signal.SIGTERM)
    daemon.wait_for("Draining")
    assert daemon.drain(seconds=5) == 0

    daemon.start()
    assert stage.next_run().job == job.id


def test_a_queue_elsewhere_may_be_away_for_a_while(daemon: Daemon, stage: Stage, tmp_path: Path):
    elsewhere = EmbeddedServer(tmp_path / "elsewhere")
    elsewhere.start()
    daemon.start(REDIS_URL=elsewhere.url)
    worker = child(daemon, "work splitter")

    assert elsewhere.process is not None
    elsewhere.process.kill()
    elsewhere.process.wait()
    daemon.wait_for("The queue is away")
    elsewhere.start()
    daemon.wait_for("The queue is back")

    with connect(elsewhere.url) as redis:
        Queue(redis, QueueOptions.from_settings(daemon.settings)).enqueue(NewJob("splitter", {}))
        assert stage.next_run().pid == worker
    daemon.close()
    elsewhere.stop()


def test_a_data_folder_has_one_daemon(daemon: Daemon):
    daemon.start()

    second = run_main(daemon, "serve")

    assert second.returncode == 1
    assert f"is in use by another sovitsd (process {daemon.pid})" in second.stderr


def run_main(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(MAIN), *arguments],
        env={**os.environ, "DATA_PATH": str(daemon.folder), "REDIS_URL": ""},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
