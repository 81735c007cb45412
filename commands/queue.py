"""`main.py queue`: look into the queue and move jobs by hand."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from commands.terminal import print_json
from common.program_name import program_name
from core.errors import NotFound, NotReady
from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions
from core.jobs.server_check import find_usable_redis
from core.redis import connect, is_connection_error
from core.settings import Settings


@contextmanager
def open_queue(settings: Settings) -> Iterator[Queue]:
    """Open the queue of the settings, or of the daemon that runs on the data folder.

    Raises NotReady when Redis does not respond.
    """
    redis = connect(find_usable_redis(settings))
    try:
        yield Queue(redis, QueueOptions.from_settings(settings))
    except Exception as error:
        if not is_connection_error(error):
            raise
        raise NotReady(f"The queue does not answer: {error}.", hint="Is the daemon running?") from None
    finally:
        redis.close()


def list_queue(queue: Queue, options: argparse.Namespace) -> int:
    """Print the depth of each queue, and the workers."""
    if options.json:
        workers = [{"id": worker.id, "device": worker.device, "job": worker.job or None} for worker in queue.workers()]
        print_json({"queues": queue.depths(), "workers": workers})
        return 0
    for name, depth in queue.depths().items():
        print(f"{name:<14}{depth:>8}")
    for worker in queue.workers():
        print(f"{worker.id}  on {worker.device}  {worker.job or 'idle'}")
    return 0


def show_job(queue: Queue, options: argparse.Namespace) -> int:
    """Print everything about one job as JSON; raise NotFound when there is none."""
    job = queue.job(options.job)
    if job is None:
        raise NotFound(f"There is no job {options.job!r}; results are forgotten after a while.")
    document = asdict(job)
    document["awaits"] = document.pop("pending_dependencies")  # the field's name for scripts that read this
    print_json(document)
    return 0


def list_dead_letters(queue: Queue, options: argparse.Namespace) -> int:
    """Print one line per dead letter, newest first."""
    if options.json:
        print_json([asdict(letter) for letter in queue.dead_letters()])
        return 0
    for letter in queue.dead_letters():
        died = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(letter.died_at))
        error = f"{letter.error.get('code', '')}: {letter.error.get('message', '')}"
        print(f"{letter.job_id}  {letter.role}  {died}  {error}")
    return 0


def replay_job(queue: Queue, options: argparse.Namespace) -> int:
    """Requeue a dead letter; raise NotFound when there is none of that id."""
    if not queue.replay(options.job):
        raise NotFound(f"{options.job!r} is no dead letter.", hint=f"`{program_name()} queue dead` lists them.")
    if options.json:
        print_json({"job": options.job, "state": "waiting"})
    else:
        print(f"{options.job} waits to run again.")
    return 0


def cancel_job(queue: Queue, options: argparse.Namespace) -> int:
    """Cancel a job; raise NotFound when there is none."""
    status = queue.cancel(options.job)
    if status is None:
        raise NotFound(f"There is no job {options.job!r}.")
    if options.json:
        print_json({"job": options.job, "state": str(status), "ended": status.terminal})
        return 0
    print(f"{options.job} is {status}." if status.terminal else f"{options.job} is {status} and was asked to stop.")
    return 0


QUEUE_COMMANDS: dict[str, Callable[[Queue, argparse.Namespace], int]] = {
    "list": list_queue,
    "show": show_job,
    "dead": list_dead_letters,
    "replay": replay_job,
    "cancel": cancel_job,
}
