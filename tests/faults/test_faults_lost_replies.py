"""Replies that never arrive: whatever was asked has happened exactly once."""

from __future__ import annotations

import asyncio
import sys

import pytest
from daemon_stage import Stage
from faulty_daemon import FaultyDaemon

from benchmarks.chaos.fault_proxy import FaultProxy
from core.jobs.events import Events
from core.jobs.job import JobStatus, NewJob
from core.jobs.queue import AsyncQueue, Queue
from core.jobs.queue_options import QueueOptions
from core.jobs.transport import load_script
from core.redis import connect, connect_async
from core.redis_server import EmbeddedServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="daemons tie their children with prctl"),
]


@pytest.mark.parametrize("reset", [True, False])
def test_the_reply_to_an_enqueue_is_lost_and_there_is_exactly_one_job(
    server: EmbeddedServer, proxy: FaultProxy, reset: bool
):
    with connect(proxy.through(server.url), socket_seconds=0.5) as client:
        queue = Queue(client, QueueOptions(f"lost{reset}:"))
        queue.depths()  # connects, and the script is known
        proxy.lose_reply_to(load_script("enqueue").sha.encode(), reset=reset)
        job = NewJob("splitter", {}, idempotency_key="once")
        try:
            first = queue.enqueue(job).id
        except Exception as error:  # without a reset, the caller has to send it again
            assert not reset, error  # noqa: PT017
            first = queue.enqueue(job).id

        assert proxy.lost == 1
        assert queue.enqueue(job).id == first
        assert (queue.depths()["splitter"], queue.counters()["submitted"]) == (1, 1)


@pytest.mark.parametrize("reset", [True, False])
def test_the_reply_to_a_pop_is_lost_and_no_job_is_stranded_on_a_live_worker(
    distant: FaultyDaemon, stage: Stage, proxy: FaultProxy, reset: bool
):
    distant.launch()
    proxy.lose_reply_to(b"BLMOVE", reset=reset)

    job = distant.queue.enqueue(NewJob("splitter", {}))
    run = stage.next_run(30)

    assert distant.finished(job.id).result == {"pid": run.pid}
    assert (distant.queue.counters()["done"], stage.is_empty()) == (1, True)


def test_the_reply_to_an_ack_is_lost_and_there_is_one_completion(
    distant: FaultyDaemon, stage: Stage, proxy: FaultProxy
):
    distant.launch()
    job = distant.queue.enqueue(NewJob("splitter", {"how": "wait"}))
    run = stage.next_run()
    proxy.lose_reply_to(load_script("ack").sha.encode())

    run.go_on()
    done = distant.finished(job.id)
    other = distant.queue.enqueue(NewJob("splitter", {}))
    stage.next_run()
    distant.finished(other.id)

    assert (proxy.lost, done.result, done.rescues) == (1, {"pid": run.pid}, 0)
    assert (distant.queue.counters()["done"], stage.is_empty()) == (2, True)


def test_the_scripts_are_flushed_during_a_job_and_it_continues(
    distant: FaultyDaemon, stage: Stage, server: EmbeddedServer
):
    distant.launch()
    job = distant.queue.enqueue(NewJob("splitter", {"how": "wait"}))
    run = stage.next_run()

    with connect(server.url) as admin:
        admin.script_flush()
    run.go_on()

    done = distant.finished(job.id)
    assert (done.status, done.result, done.rescues) == (JobStatus.DONE, {"pid": run.pid}, 0)


async def test_the_completion_message_is_dropped_and_the_waiter_returns_soon(server: EmbeddedServer, proxy: FaultProxy):
    options = QueueOptions("dropped:")
    client, distant_client = connect(server.url), connect_async(proxy.through(server.url))
    queue, events = Queue(client, options), Events(AsyncQueue(distant_client, options))
    job = queue.enqueue(NewJob("splitter", {}))
    lease = queue.claim("splitter", "worker-1")
    assert lease is not None
    waiting = asyncio.create_task(events.wait(job.id, 5))
    while client.pubsub_numsub(f"dropped:events:{job.id}")[0][1] == 0:  # noqa: ASYNC110  # Redis has no event for it
        await asyncio.sleep(0.01)

    proxy.swallow(b"completed")
    queue.ack(lease, {"heard": False})
    done = await waiting

    assert (done.status, done.result) == (JobStatus.DONE, {"heard": False})
    assert proxy.lost == 1
    await events.close()
    await distant_client.aclose()
    client.close()
