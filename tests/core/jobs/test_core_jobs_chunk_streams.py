"""Streams of audio: what a worker publishes, and what a process that listens reads of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import redis

from core.errors import NotFound, TimedOut
from core.jobs import chunk_streams
from core.jobs.chunk_streams import ChunkStream, ChunkStreams, PublishedChunk, StreamEnd
from core.jobs.job import ChunkStatus, Job, JobStatus, Lease, NewJob, StreamPart
from core.jobs.queue import AsyncQueue, Queue
from core.redis import connect_async
from core.redis_server import EmbeddedServer

RATE = 16_000


@asynccontextmanager
async def listening(server: EmbeddedServer) -> AsyncIterator[ChunkStreams]:
    client, binary = connect_async(server.url), connect_async(server.url, decode_responses=False)
    streams = ChunkStreams(AsyncQueue(client), binary)
    yield streams
    await streams.close()
    await binary.aclose()
    await client.aclose()


def claim_stream(queue: Queue, job_id: str, worker: str = "worker-1", **more: Any) -> Lease:
    queue.enqueue(NewJob("synthesizer", {}, job_id=job_id, stream=StreamPart.OPENING, **more))
    return claim(queue, worker)


def claim(queue: Queue, worker: str) -> Lease:
    lease = queue.claim("synthesizer", worker)
    assert lease is not None
    return lease


async def read_all(stream: ChunkStream) -> tuple[bytes, StreamEnd]:
    audio = b""
    while isinstance(entry := await stream.read(10), PublishedChunk):
        audio += entry.samples
    return audio, entry


async def test_chunks_arrive_in_order_and_then_the_result(server: EmbeddedServer, queue: Queue):
    async with listening(server) as streams:
        stream = await streams.open("a")
        lease = claim_stream(queue, "a")
        for start, chunk in ((0, b"\x00\xff"), (2, b"\x80\n\r\0"), (6, b"zz")):
            assert queue.publish_chunk(lease, start, RATE, chunk) is ChunkStatus.HELD
        queue.ack(lease, {"pause_seconds": 0.3})

        audio, end = await read_all(stream)

    assert audio == b"\x00\xff\x80\n\r\0zz"
    assert end == StreamEnd(JobStatus.DONE, {"pause_seconds": 0.3})


async def test_many_streams_share_one_connection(server: EmbeddedServer, queue: Queue, client: redis.Redis):
    async with listening(server) as streams:
        before = len(client.client_list())
        opened = [await streams.open(f"job-{number}") for number in range(16)]
        leases = [claim_stream(queue, f"job-{number}", f"worker-{number}") for number in range(16)]
        for step in range(20):
            for number, lease in enumerate(leases):
                queue.publish_chunk(lease, 2 * step, RATE, bytes((number, step)))
        for lease in leases:
            queue.ack(lease, {})
        audio = [(await read_all(stream))[0] for stream in opened]
        after = len(client.client_list())

    assert audio == [b"".join(bytes((number, step)) for step in range(20)) for number in range(16)]
    assert after - before <= 3


async def test_a_takeover_publishes_nothing_twice_and_the_first_worker_nothing_more(
    server: EmbeddedServer, queue: Queue
):
    async with listening(server) as streams:
        stream = await streams.open("a")
        first = claim_stream(queue, "a")
        queue.publish_chunk(first, 0, RATE, b"abcdef")
        queue.rescue_worker("worker-1")
        second = claim(queue, "worker-2")

        assert queue.publish_chunk(first, 6, RATE, b"XXXX") is ChunkStatus.LOST
        assert queue.publish_chunk(second, 0, RATE, b"abcd") is ChunkStatus.HELD
        assert queue.publish_chunk(second, 4, RATE, b"efgh") is ChunkStatus.HELD
        queue.ack(second, {})
        assert not queue.ack(first, {"late": True})

        audio, end = await read_all(stream)

    assert audio == b"abcdefgh"
    assert end.result == {}


async def test_a_chunk_whose_reply_was_lost_is_published_once(server: EmbeddedServer, queue: Queue):
    async with listening(server) as streams:
        stream = await streams.open("a")
        lease = claim_stream(queue, "a")
        for _ in range(2):
            queue.publish_chunk(lease, 0, RATE, b"abcd")
        queue.ack(lease, {})

        assert (await read_all(stream))[0] == b"abcd"


async def test_a_reader_that_is_behind_stops_the_writer_and_loses_nothing(
    server: EmbeddedServer, queue: Queue, client: redis.Redis
):
    async with listening(server) as streams:
        stream = await streams.open("a")
        lease = claim_stream(queue, "a")
        written = 0
        while queue.publish_chunk(lease, written, RATE, written.to_bytes(4, "big")) is ChunkStatus.HELD:
            written += 4
        assert client.xlen("sovits:audio:a") <= 300
        assert written < 4 * 300

        audio = b""
        while len(audio) < 8 * 1000:
            audio += cast(PublishedChunk, await stream.read(10)).samples
            while written < 8 * 1000 and (
                queue.publish_chunk(lease, written, RATE, written.to_bytes(4, "big")) is ChunkStatus.HELD
            ):
                written += 4
                await asyncio.sleep(0)

    assert audio == b"".join(start.to_bytes(4, "big") for start in range(0, 8 * 1000, 4))


@pytest.mark.parametrize("state", ["dead", "cancelled waiting", "cancelled processing"])
async def test_a_stream_ends_however_its_job_does(server: EmbeddedServer, queue: Queue, state: str):
    async with listening(server) as streams:
        stream = await streams.open("a")
        if state == "cancelled waiting":
            queue.enqueue(NewJob("synthesizer", {}, job_id="a", stream=StreamPart.OPENING))
            queue.cancel("a")
        else:
            lease = claim_stream(queue, "a")
            if state == "dead":
                queue.fail(lease, {"code": "bad_markup", "message": "No."}, permanent=True)
            else:
                queue.cancel("a")
                assert queue.publish_chunk(lease, 0, RATE, b"ab") is ChunkStatus.CANCEL
                queue.confirm_cancel(lease)

        audio, end = await read_all(stream)

    assert audio == b""
    assert end.status is (JobStatus.DEAD if state == "dead" else JobStatus.CANCELLED)
    assert (end.error and end.error["code"]) == ("bad_markup" if state == "dead" else None)


async def test_a_stream_that_was_lost_ends_with_its_job(
    server: EmbeddedServer, queue: Queue, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(chunk_streams, "CHECK_SECONDS", 0.05)
    async with listening(server) as streams:
        lease = claim_stream(queue, "a")
        queue.ack(lease, {"text": "Hello."})
        client.delete("sovits:audio:a")
        stream, unknown = await streams.open("a"), await streams.open("b")

        assert await stream.read(10) == StreamEnd(JobStatus.DONE, {"text": "Hello."})
        with pytest.raises(NotFound, match="forgotten"):
            await unknown.read(10)


async def test_silence_is_noticed(server: EmbeddedServer, queue: Queue):
    async with listening(server) as streams:
        stream = await streams.open("a")
        claim_stream(queue, "a")

        with pytest.raises(TimedOut):
            await stream.read(0.1)


def test_an_utterance_of_a_stream_keeps_no_history_and_its_audio_expires(queue: Queue, client: redis.Redis):
    lease = claim_stream(queue, "a", keep_result_seconds=120)
    queue.publish_chunk(lease, 0, RATE, b"ab")
    queue.ack(lease, {})

    assert client.exists("sovits:events:a") == 0
    assert 0 < client.ttl("sovits:audio:a") <= 60
    assert 0 < client.ttl("sovits:job:a") <= 120


def test_a_job_whose_listener_is_gone_is_cancelled_when_its_turn_comes_again(
    queue: Queue, client: redis.Redis, clock: Any
):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a", stream=StreamPart.OPENING, listener="gone"))
    queue.enqueue(NewJob("synthesizer", {}, job_id="b", stream=StreamPart.OPENING, listener="here"))
    queue.keep_listening("here", 5)

    assert claim(queue, "worker-1").job.id == "b"
    assert cast(Job, queue.job("a")).status is JobStatus.DELAYED
    clock.advance(4)
    queue.promote()
    assert queue.claim("synthesizer", "worker-2") is None
    assert cast(Job, queue.job("a")).status is JobStatus.CANCELLED


def test_a_listener_that_was_only_cut_off_gets_its_job(queue: Queue, clock: Any):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a", stream=StreamPart.OPENING, listener="away"))
    assert queue.claim("synthesizer", "worker-1") is None

    queue.keep_listening("away", 5)
    clock.advance(4)
    queue.promote()

    assert claim(queue, "worker-1").job.id == "a"


def test_a_worker_that_drains_takes_only_what_continues_a_stream(queue: Queue):
    queue.enqueue(NewJob("synthesizer", {}, job_id="background", priority=9))
    queue.enqueue(NewJob("synthesizer", {}, job_id="opening", stream=StreamPart.OPENING, priority=9))
    queue.enqueue(NewJob("synthesizer", {}, job_id="next", stream=StreamPart.CONTINUATION))

    first = queue.claim("synthesizer", "worker-1", draining=True)
    second = queue.claim("synthesizer", "worker-2", draining=True)

    assert first is not None
    assert first.job.id == "next"
    assert second is None
    assert queue.depths()["synthesizer"] == 2


def test_a_cancel_is_announced_at_once(queue: Queue, client: redis.Redis):
    claim_stream(queue, "a")
    subscription = client.pubsub(ignore_subscribe_messages=True)
    subscription.subscribe("sovits:cancels")
    subscription.get_message(timeout=5)

    queue.cancel("a")

    message = next(filter(None, (subscription.get_message(timeout=1) for _ in range(10))))
    assert message["data"] == "a"
    subscription.close()
