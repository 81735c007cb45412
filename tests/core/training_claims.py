"""Trainings in the queue, and workers at different locations that claim them."""

from __future__ import annotations

from core.jobs.job import Lease, NewJob, WorkerLocation
from core.jobs.queue import Queue

CPU = WorkerLocation("host", "cpu", "training", limit=1)
GPU_0 = WorkerLocation("host", "cuda:0", "training", limit=1)
GPU_1 = WorkerLocation("host", "cuda:1", "training", limit=1)


def train(queue: Queue, *names: str, device: str = "", priority: int = 5) -> None:
    queue.enqueue_many([NewJob("trainer", {}, job_id=name, priority=priority, device=device) for name in names])


def claim(queue: Queue, worker: str, place: WorkerLocation, block_seconds: float = 0.0) -> Lease | None:
    return queue.claim("trainer", worker, block_seconds, place)


def job_id_of(lease: Lease | None) -> str:
    return lease.job.id if lease else ""
