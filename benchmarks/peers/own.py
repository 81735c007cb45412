"""Ours: the production queue and a worker's loop around it (claim, run, ack), without role, logs and heartbeat."""

from __future__ import annotations

import asyncio

from noop_job import URL, command, measure_async, noop, tell_ready

from core.jobs.events import Events
from core.jobs.job import NewJob
from core.jobs.queue import AsyncQueue, Queue
from core.jobs.roles import SYNTHESIZER
from core.redis import connect, connect_async


def work() -> None:
    queue = Queue(connect(URL))
    tell_ready()
    while True:
        lease = queue.claim(SYNTHESIZER, "synthesizer-bench-1-1", block_seconds=1.0)
        if lease is not None:
            noop(lease.job.payload["n"])
            queue.ack(lease, {})


async def wait_for_each(count: int) -> None:
    """Wait for each job as the API does."""
    redis = connect_async(URL)
    queue = AsyncQueue(redis)
    events = Events(queue)

    async def round_trip() -> None:
        job = await queue.enqueue(NewJob(SYNTHESIZER, {"n": -1}))
        await events.wait(job.id, timeout=30)

    await measure_async(round_trip, count)
    await events.close()
    await redis.aclose()


if __name__ == "__main__":
    verb, count = command()
    if verb == "worker":
        work()
    elif verb == "enqueue":
        Queue(connect(URL)).enqueue_many([NewJob(SYNTHESIZER, {"n": n}) for n in range(count)])
    else:
        asyncio.run(wait_for_each(count))
