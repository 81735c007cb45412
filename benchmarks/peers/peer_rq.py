"""RQ with its SimpleWorker, which spares the fork for each job; waits on the stream of results."""

from __future__ import annotations

from noop_job import URL, command, measure, tell_ready
from redis import Redis
from rq import Queue, SimpleWorker

queue = Queue("bench", connection=Redis.from_url(URL))


def round_trip() -> None:
    queue.enqueue("noop_job.noop", -1).latest_result(timeout=30)


if __name__ == "__main__":
    verb, count = command()
    if verb == "worker":
        tell_ready()
        SimpleWorker([queue], connection=queue.connection).work(logging_level="ERROR")
    elif verb == "enqueue":
        for n in range(count):
            queue.enqueue("noop_job.noop", n)
    else:
        measure(round_trip, count)
