"""Redis is away or rejects writes for a while: nothing is lost, nothing runs twice, and nothing counts as a crash."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pytest
from daemon_stage import Stage, until
from faulty_daemon import LEASE_SECONDS, FaultyDaemon

from benchmarks.chaos.fault_proxy import FaultProxy
from core.jobs.job import JobStatus, NewJob
from core.jobs.worker_commands import OUTAGE_SECONDS
from core.redis import connect
from core.redis_server import EmbeddedServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="daemons tie their children with prctl"),
]

OUTAGES: dict[str, Callable[[FaultProxy], None]] = {
    "disconnected": FaultProxy.disconnect,
    "black hole": FaultProxy.black_hole,
}


def outlast_the_lease(since: float, seconds: float = 3 * LEASE_SECONDS) -> None:
    """Wait until a worker must have noticed that its lease is over; the clock is the condition."""
    until(lambda: time.monotonic() - since > seconds)


@pytest.mark.parametrize("how", ["wait", "wait_deaf"])
@pytest.mark.parametrize("outage", OUTAGES)
def test_redis_unreachable_while_a_worker_is_busy_three_times_over_is_no_crash(
    distant: FaultyDaemon, stage: Stage, proxy: FaultProxy, outage: str, how: str
):
    distant.launch()
    job = distant.queue.enqueue(NewJob("splitter", {"how": how}))
    run = stage.next_run()

    for _ in range(3):
        began = time.monotonic()
        OUTAGES[outage](proxy)
        outlast_the_lease(began)
        proxy.restore()
        run = stage.next_run(30)  # stopped while it was cut off, and claimed again

    run.go_on()
    done = distant.finished(job.id)
    assert (done.attempts, done.rescues) == (0, 0)
    assert done.result == {"pid": run.pid}
    assert distant.queue.dead_letters() == []
    assert stage.is_empty()
    assert not any("unexpected exit" in line for line in distant.lines)


@pytest.mark.parametrize("outage", OUTAGES)
def test_a_job_that_ends_while_redis_is_unreachable_is_done_once_and_its_worker_stays(
    distant: FaultyDaemon, stage: Stage, proxy: FaultProxy, outage: str
):
    distant.launch()
    job = distant.queue.enqueue(NewJob("splitter", {"how": "wait_deaf"}))
    run = stage.next_run()
    began = time.monotonic()

    OUTAGES[outage](proxy)
    run.go_on()
    outlast_the_lease(began, OUTAGE_SECONDS + 2)  # then the reaper knows that it was away, too
    proxy.restore()

    done = distant.finished(job.id)
    other = distant.queue.enqueue(NewJob("splitter", {}))
    assert (done.result, done.attempts, done.rescues) == ({"pid": run.pid}, 0, 0)
    assert distant.finished(other.id).result == {"pid": run.pid}  # the same process


def test_a_worker_cut_off_from_redis_is_fenced_and_there_is_one_winner(
    distant: FaultyDaemon, stage: Stage, proxy: FaultProxy
):
    distant.launch()
    job = distant.queue.enqueue(NewJob("splitter", {"how": "wait_deaf"}))
    cut_off = stage.next_run()

    proxy.black_hole()
    until(lambda: distant.queue.reap(), what="the lease to end")
    winner = distant.queue.claim("splitter", "worker-elsewhere", 5)
    assert winner is not None
    assert distant.queue.job(job.id).rescues == 1  # type: ignore[union-attr]
    cut_off.go_on()
    proxy.restore()
    until(lambda: distant.queue.job(job.id).rescues == 0)  # type: ignore[union-attr]  # nobody had died

    assert distant.queue.ack(winner, {"by": "elsewhere"})
    done = distant.finished(job.id)
    assert (done.result, done.rescues, distant.queue.counters()["done"]) == ({"by": "elsewhere"}, 0, 1)


def test_redis_unreachable_for_long_is_no_crash_loop_and_everybody_reconnects(
    distant: FaultyDaemon, stage: Stage, proxy: FaultProxy
):
    distant.launch("--roles", "splitter")
    before = {worker.pid for worker in distant.queue.workers()}

    proxy.disconnect()
    distant.wait_for("The queue is away")
    outlast_the_lease(time.monotonic())
    proxy.restore()
    job = distant.queue.enqueue(NewJob("splitter", {}))

    assert distant.finished(job.id).result == {"pid": before.pop()}
    assert not any("Restarting" in line for line in distant.lines)


@pytest.mark.parametrize("how", ["out of memory", "read-only"])
def test_a_role_whose_own_enqueue_is_rejected_waits_and_the_job_does_not_fail(
    distant: FaultyDaemon, stage: Stage, server: EmbeddedServer, how: str
):
    distant.launch(role_class="toy_roles:Enqueuer")
    job = distant.queue.enqueue(NewJob("splitter", {"how": "enqueue_next"}))
    run = stage.next_run()
    admin = connect(server.url)

    if how == "out of memory":
        admin.config_set("maxmemory", 1)
    else:
        admin.replicaof("127.0.0.1", "1")
    try:
        run.go_on()
        distant.wait_for("The queue is away or rejects writes")
        waiting = distant.queue.job(job.id)
        assert waiting is not None
        assert (waiting.status, waiting.attempts) == (JobStatus.PROCESSING, 0)
    finally:
        admin.config_set("maxmemory", 0)
        admin.replicaof("NO", "ONE")
        admin.close()

    stage.next_run().go_on()
    done = distant.finished(job.id)
    assert (done.attempts, done.rescues) == (0, 0)
    assert distant.queue.job(f"{job.id}.0") is not None
