"""Who watches hears everything once and in order; who waits hears of the end, whatever got lost on the way."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import cast

import pytest
import redis
import redis.asyncio

from core.errors import NotFound, QueueUnavailable, TimedOut
from core.jobs import events as events_module
from core.jobs.events import Events
from core.jobs.job import Event, JobStatus, Lease, NewJob
from core.jobs.queue import AsyncQueue, Queue
from core.jobs.transport import load_script
from core.redis import connect, connect_async
from core.redis_server import EmbeddedServer

Take = Callable[..., Lease]


@pytest.fixture
async def async_client(server: EmbeddedServer, client: redis.Redis) -> AsyncIterator[redis.asyncio.Redis]:
    """Yield the server as an event loop sees it."""
    connection = connect_async(server.url)
    yield connection
    await connection.aclose()


@pytest.fixture
def async_queue(async_client: redis.asyncio.Redis) -> AsyncQueue:
    return AsyncQueue(async_client)


@pytest.fixture
async def listening(async_queue: AsyncQueue) -> AsyncIterator[Events]:
    events = Events(async_queue)
    yield events
    await events.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # what a server does sets no event here
            await asyncio.sleep(0.002)


def collect(events: Events, topic: str, into: list[Event], after: str = "0") -> asyncio.Task[None]:
    async def watch() -> None:
        async for event in events.watch(topic, after):
            into.append(event)

    return asyncio.create_task(watch())


def ack_without_announcement(client: redis.Redis, lease: Lease) -> None:
    """Acknowledge with the real script, whose announcement nobody receives."""
    quiet = load_script("ack").source.replace("redis.call('PUBLISH'", "type('PUBLISH'")
    assert client.eval(quiet, 1, "sovits:", lease.job.id, lease.token, lease.worker_id, "{}", 600) == 1


async def test_a_watcher_hears_the_past_and_then_the_present_until_the_end(listening: Events, async_queue: AsyncQueue):
    await async_queue.publish_event("task-1", "progress", {"progress": 0.1})
    await async_queue.publish_event("task-1", "log", {"message": "so far 好"})
    events: list[Event] = []
    watching = collect(listening, "task-1", events)
    await until(lambda: len(events) == 2)

    for number in range(20):
        await async_queue.publish_event("task-1", "progress", {"progress": number / 20})
    await async_queue.publish_event("task-1", "completed", {"voice_id": "voice-1"})
    await watching

    assert [event.kind for event in events] == ["progress", "log", *["progress"] * 20, "completed"]
    assert events[1].data == {"message": "so far 好"}
    assert [event.id for event in events] == sorted({event.id for event in events}, key=lambda topic: topic.split("-"))


async def test_a_watcher_that_comes_back_hears_only_what_it_missed(listening: Events, async_queue: AsyncQueue):
    for number in range(3):
        await async_queue.publish_event("task-1", "progress", {"n": number})
    seen = (await async_queue.event_history("task-1"))[1].id
    await async_queue.publish_event("task-1", "failed", {})

    events = [event.data.get("n", event.kind) async for event in listening.watch("task-1", seen)]

    assert events == [2, "failed"]


async def test_a_watcher_that_has_seen_the_end_is_not_kept(listening: Events, async_queue: AsyncQueue):
    await async_queue.publish_event("task-1", "completed", {})
    (end,) = await async_queue.event_history("task-1")

    async with asyncio.timeout(5):
        assert [event async for event in listening.watch("task-1", end.id)] == []


async def test_an_end_that_a_replay_followed_is_no_end(listening: Events, queue: Queue, take: Take):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    queue.fail(take(), {"code": "x", "message": "It failed."}, permanent=True)
    queue.replay("a")
    lease = take()
    queue.progress(lease, {"progress": 0.5})
    events: list[Event] = []
    watching = collect(listening, "a", events)
    await until(lambda: len(events) == 2)

    queue.ack(lease, {})
    await watching

    assert [event.kind for event in events] == ["failed", "progress", "completed"]


async def test_a_history_longer_than_a_page_is_read_whole(
    listening: Events, async_queue: AsyncQueue, client: redis.Redis
):
    with client.pipeline(transaction=False) as pipe:
        for number in range(900):
            pipe.xadd("sovits:events:task-1", {"kind": "log", "data": f'{{"n":{number}}}'})
        pipe.execute()

    history = await async_queue.event_history("task-1")

    assert [event.data["n"] for event in history] == list(range(900))


async def test_a_history_is_capped_and_forgotten(listening: Events, async_queue: AsyncQueue, client: redis.Redis):
    for number in range(1200):
        await async_queue.publish_event("task-1", "log", {"n": number})

    assert 1000 <= client.xlen("sovits:events:task-1") < 1200
    assert 0 < client.ttl("sovits:events:task-1") <= 7 * 86_400


async def test_a_hundred_watchers_share_one_connection(listening: Events, async_queue: AsyncQueue, client: redis.Redis):
    events: list[list[Event]] = [[] for _ in range(100)]
    watching = [collect(listening, f"task-{n % 10}", into) for n, into in enumerate(events)]
    await until(lambda: len(client.pubsub_channels("sovits:events:task-*")) == 10)
    subscribers = [connection for connection in client.client_list() if int(connection["sub"]) > 0]

    for number in range(10):
        await async_queue.publish_event(f"task-{number}", "completed", {})
    await asyncio.gather(*watching)

    assert len(subscribers) == 1
    assert [len(watched) for watched in events] == [1] * 100
    await until(lambda: client.pubsub_channels("sovits:events:task-*") == [])


async def test_a_waiter_is_woken_by_the_end(
    listening: Events, queue: Queue, take: Take, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(events_module, "REREAD_SECONDS", 3600.0)  # only the announcement wakes it
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    lease = take()
    waiting = asyncio.create_task(listening.wait("a", 30))
    await until(lambda: client.pubsub_channels("sovits:events:a"))

    queue.ack(lease, {"audio": "a.wav"})
    job = await waiting

    assert (job.status, job.result) == (JobStatus.DONE, {"audio": "a.wav"})


async def test_the_announcement_of_the_end_is_dropped(listening: Events, queue: Queue, take: Take, client: redis.Redis):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    lease = take()
    waiting = asyncio.create_task(listening.wait("a", 30))
    await until(lambda: client.pubsub_channels("sovits:events:a"))

    ack_without_announcement(client, lease)
    job = await waiting

    assert job.status is JobStatus.DONE
    # What is watched is asked about once a second; by itself a waiter reads again only after the time of this test.
    assert events_module.REREAD_SECONDS <= 1.0
    assert events_module.IDLE_SECONDS * 0.7 > 30


@pytest.mark.parametrize("end", ["dead", "cancelled"])
async def test_every_end_ends_the_waiting(listening: Events, queue: Queue, take: Take, end: str):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    waiting = asyncio.create_task(listening.wait("a", 30))

    if end == "dead":
        queue.fail(take(), {"code": "x", "message": "It failed."}, permanent=True)
    else:
        queue.cancel("a")

    assert (await waiting).status == end


async def test_waiting_has_an_end_of_its_own(listening: Events, queue: Queue):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))

    with pytest.raises(TimedOut, match="it goes on"):
        await listening.wait("a", 0.05)


async def test_waiting_for_nobody_ends_at_once(listening: Events):
    with pytest.raises(NotFound):
        await listening.wait("nobody", 30)


async def test_a_watcher_that_leaves_after_the_end_leaves_nothing_behind(listening: Events, async_queue: AsyncQueue):
    await async_queue.publish_event("task-1", "progress", {"progress": 0.1})
    watching = cast(AsyncGenerator[Event], listening.watch("task-1"))
    await anext(watching)

    await listening.close()
    await watching.aclose()

    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_watchers_and_waiters_outlive_the_server(own_server: EmbeddedServer):
    near, async_client = connect(own_server.url), connect_async(own_server.url)
    queue, listening = Queue(near), Events(AsyncQueue(async_client))
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    lease = queue.claim("synthesizer", "worker-1")
    assert lease is not None
    queue.progress(lease, {"progress": 0.1})
    events: list[Event] = []
    watching, waiting = collect(listening, "a", events), asyncio.create_task(listening.wait("a", 30))
    await until(lambda: len(events) == 1)
    assert own_server.process is not None
    os.kill(own_server.process.pid, signal.SIGKILL)
    own_server.process.wait()

    own_server.start()
    queue.progress(lease, {"progress": 0.9})
    queue.ack(lease, {})
    await watching

    assert [event.kind for event in events] == ["progress", "progress", "completed"]
    assert (await waiting).status is JobStatus.DONE
    await until(lambda: near.pubsub_channels("sovits:events") == ["sovits:events"])
    await listening.close()
    await async_client.aclose()
    near.close()


async def test_without_a_server_waiting_says_so_in_the_end(own_server: EmbeddedServer):
    async_client = connect_async(own_server.url)
    async_queue = AsyncQueue(async_client)
    listening = Events(async_queue)
    await async_queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    own_server.stop()

    with pytest.raises(QueueUnavailable):
        await listening.wait("a", 0.3)
    with pytest.raises(QueueUnavailable):
        await async_queue.publish_event("task-1", "log", {})
    await listening.close()
    await async_client.aclose()


def test_code_that_blocks_publishes_and_reads_the_same_history(queue: Queue):
    queue.publish_event("task-1", "log", {"n": 1})
    queue.publish_event("task-1", "completed", {})

    history = queue.event_history("task-1")

    assert [(event.kind, event.data) for event in history] == [("log", {"n": 1}), ("completed", {})]
    assert queue.event_history("task-1", history[0].id) == history[1:]
