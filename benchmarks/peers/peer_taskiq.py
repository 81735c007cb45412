"""TaskIQ: its list broker, which takes without acknowledging and is faster than its streams; results are polled."""

from __future__ import annotations

import asyncio

from noop_job import URL, command, measure_async, tell_ready
from noop_job import noop as do_nothing
from taskiq.api import run_receiver_task
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

broker = ListQueueBroker(URL).with_result_backend(RedisAsyncResultBackend(URL, result_ex_time=600))


@broker.task(task_name="noop")
async def noop(n: int) -> None:
    do_nothing(n)


async def round_trip() -> None:
    task = await noop.kiq(-1)
    await task.wait_result(check_interval=0.001, timeout=30)


async def main() -> None:
    verb, count = command()
    if verb == "worker":
        broker.is_worker_process = True
        await broker.startup()
        tell_ready()
        await run_receiver_task(broker)
        return
    await broker.startup()
    if verb == "enqueue":
        for n in range(count):
            await noop.kiq(n)
    else:
        await measure_async(round_trip, count)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
