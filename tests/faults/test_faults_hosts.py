"""Faults between several processes and hosts: who has which job, and by whose clock."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from daemon_stage import REPOSITORY, TOYS, Stage, until
from faulty_daemon import LEASE_SECONDS, FaultyDaemon
from process_children import children_of

from benchmarks.chaos.fault_proxy import FaultProxy
from core.jobs.job import JobStatus, NewJob
from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions
from core.redis import connect
from core.redis_server import EmbeddedServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="daemons tie their children with prctl"),
]
REAPERS = 4
JOBS = 40
REAPER = """
import sys
from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions
from core.redis import connect
queue = Queue(connect(sys.argv[1]), QueueOptions(sys.argv[2], lease_seconds=float(sys.argv[3])))
queue.depths()
print("ready", flush=True)
sys.stdin.readline()
print(len(queue.reap()), flush=True)
"""
WRONG_CLOCK = """
import os, time
seconds = float(os.environ["TEST_CLOCK_SHIFT"])
real_time, real_time_ns = time.time, time.time_ns
time.time = lambda: real_time() + seconds
time.time_ns = lambda: real_time_ns() + int(seconds * 1e9)
"""
"""What Python runs first in every process that has it as `sitecustomize.py` in its path."""
_numbers = itertools.count()


@pytest.fixture
def hosts(tmp_path: Path, stage: Stage, server: EmbeddedServer, proxy: FaultProxy) -> Iterator[list[FaultyDaemon]]:
    """Yield the daemons of two hosts with one queue."""
    prefix = f"hosts{next(_numbers)}:"
    daemons = [FaultyDaemon(tmp_path / name, stage, server.url, proxy, prefix) for name in ("one", "other")]
    yield daemons
    for daemon in daemons:
        daemon.close()


def test_a_worker_killed_between_taking_a_job_and_claiming_it_leaves_it_to_the_next(
    distant: FaultyDaemon, stage: Stage, proxy: FaultProxy
) -> None:
    distant.launch()
    [worker] = [pid for pid, command in children_of(distant.pid).items() if "work splitter" in command]
    redis = distant.queue.transport.client
    for number in itertools.count():  # until the reply that is swallowed is that to the pop, not that to a claim
        job_id = f"job-taken-{number}"
        proxy.swallow(job_id.encode())
        distant.queue.enqueue(NewJob("splitter", {}, job_id=job_id))
        until(lambda: proxy.lost > number, what="the lost reply")  # noqa: B023  # it is called at once
        if redis.hget(distant.queue.key(f"job:{job_id}"), "state") == "waiting":
            break
        stage.next_run()
        distant.finished(job_id)
    [processing] = redis.keys(distant.queue.key("processing:*"))
    assert redis.lrange(processing, 0, -1) == [job_id]

    os.kill(worker, signal.SIGKILL)

    assert stage.next_run().pid != worker
    done = distant.finished(job_id)
    assert (done.attempts, done.rescues) == (0, 0), "it had not been begun"
    assert stage.is_empty()


def test_hosts_whose_clocks_are_two_hours_apart_rescue_neither_early_nor_late(
    hosts: list[FaultyDaemon], stage: Stage, tmp_path: Path
) -> None:
    fast, slow = hosts
    (tmp_path / "sitecustomize.py").write_text(WRONG_CLOCK)
    path = f"{TOYS}:{tmp_path}"
    fast.launch(PYTHONPATH=path, TEST_CLOCK_SHIFT="3600")
    job = fast.queue.enqueue(NewJob("splitter", {"how": "wait"}))
    first = stage.next_run()
    slow.launch(PYTHONPATH=path, TEST_CLOCK_SHIFT="-3600")
    other = fast.queue.enqueue(NewJob("splitter", {"how": "wait"}))
    second = stage.next_run()  # so the second host is at work, and its supervisor has looked for what to rescue
    running = fast.queue.job(job.id)
    assert running is not None
    assert (running.status, running.rescues) == (JobStatus.PROCESSING, 0)

    fast.kill()
    second.go_on()
    again = stage.next_run()
    again.go_on()

    assert (again.job, again.pid) == (job.id, second.pid)
    assert (fast.finished(job.id).rescues, fast.finished(other.id).rescues) == (1, 0)
    assert first.pid != second.pid
    assert stage.is_empty()


def test_several_reapers_at_once_requeue_each_job_once(server: EmbeddedServer) -> None:
    options = QueueOptions(f"reapers{next(_numbers)}:", lease_seconds=LEASE_SECONDS)
    with connect(server.url) as client:
        queue = Queue(client, options)
        queue.reap()  # or the first of them would take the time without any for an outage
        queue.enqueue_many([NewJob("splitter", {}) for _ in range(JOBS)])
        command = [sys.executable, "-c", REAPER, server.url, options.prefix, str(LEASE_SECONDS)]
        reapers = [
            subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(REAPERS)
        ]
        for reaper in reapers:
            assert reaper.stdout is not None
            assert reaper.stdout.readline() == "ready\n"
        leases = [queue.claim("splitter", f"worker-{number}") for number in range(JOBS)]
        newest = max(lease.expires_at for lease in leases if lease is not None)
        until(lambda: float(client.time()[0]) > newest, what="the end of all leases")

        with ThreadPoolExecutor(REAPERS) as senders:
            counts = [int(output) for output, _ in senders.map(lambda reaper: reaper.communicate("go\n"), reapers)]

        assert sum(counts) == JOBS
        assert queue.depths()["splitter"] == JOBS
        assert queue.counters()["rescued"] == JOBS


def test_a_job_survives_ten_redeployments_in_a_row_uncounted(
    server: EmbeddedServer, stage: Stage, tmp_path: Path
) -> None:
    prefix = f"redeployments{next(_numbers)}:"
    environment = {
        **os.environ,
        "DATA_PATH": str(tmp_path),
        "REDIS_URL": server.url,
        "REDIS_PREFIX": prefix,
        "PYTHONPATH": str(TOYS),
        "SOVITSD_ROLE_CLASSES": "splitter=toy_roles:Toy",
        "TOY_ADDRESS": stage.address,
    }
    command = [sys.executable, str(REPOSITORY / "main.py"), "work", "splitter"]
    with connect(server.url) as client:
        queue = Queue(client, QueueOptions(prefix))
        job = queue.enqueue(NewJob("splitter", {"how": "wait_or_drain"}))
        for _ in range(10):
            worker = subprocess.Popen(command, env=environment)
            assert stage.next_run().pid == worker.pid
            worker.terminate()
            assert worker.wait(60) == 0
        worker = subprocess.Popen(command, env=environment)
        stage.next_run().go_on()
        until(lambda: (ended := queue.job(job.id)) is not None and ended.status.terminal)
        worker.terminate()
        worker.wait(60)
        done = queue.job(job.id)
        assert done is not None
        assert (done.status, done.attempts, done.rescues) == (JobStatus.DONE, 0, 0)
