"""SAQ: one worker with its ten concurrent jobs; `apply` waits for each."""

from __future__ import annotations

import asyncio
from typing import Any

from noop_job import URL, command, measure_async, tell_ready
from noop_job import noop as do_nothing
from saq import Queue, Worker


async def noop(_context: Any, *, n: int) -> None:
    do_nothing(n)


async def main() -> None:
    verb, count = command()
    queue = Queue.from_url(URL, name="bench")
    await queue.connect()
    if verb == "worker":
        tell_ready()
        await Worker(queue, functions=[noop]).start()
    elif verb == "enqueue":
        for n in range(count):
            await queue.enqueue("noop", n=n)
    else:
        await measure_async(lambda: queue.apply("noop", n=-1, poll_interval=0.001), count)
    await queue.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
