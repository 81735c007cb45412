"""dramatiq: one process with its eight threads; results in Redis."""

from __future__ import annotations

import threading

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from noop_job import URL, command, measure, tell_ready
from noop_job import noop as do_nothing

broker = RedisBroker(url=URL)
broker.add_middleware(Results(backend=RedisBackend(url=URL)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True, queue_name="bench")
def noop(n: int) -> int:
    do_nothing(n)
    return 0


if __name__ == "__main__":
    verb, count = command()
    if verb == "worker":
        dramatiq.Worker(broker, worker_threads=8).start()
        tell_ready()
        threading.Event().wait()
    elif verb == "enqueue":
        for n in range(count):
            noop.send(n)
    else:
        measure(lambda: noop.send(-1).get_result(block=True, timeout=30_000), count)
