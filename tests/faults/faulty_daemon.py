"""A daemon with toy roles that reaches its queue server through a proxy."""

from __future__ import annotations

from pathlib import Path

from daemon_stage import Daemon, Stage
from job_waiting import wait_for_job

from benchmarks.chaos.fault_proxy import FaultProxy
from core.jobs.job import Job, JobStatus
from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions
from core.redis import connect

LEASE_SECONDS = 2.0
"""Of these daemons, so that an outage of seconds is what a minute is to a real one."""


class FaultyDaemon(Daemon):
    """Its own queue, seen from the other side of the proxy, is `queue`."""

    def __init__(self, folder: Path, stage: Stage, redis_url: str, proxy: FaultProxy, prefix: str) -> None:
        super().__init__(folder, stage)
        self._direct = connect(redis_url)
        self._redis_url = proxy.through(redis_url)
        self._prefix = prefix

    def launch(self, *options: str, role_class: str = "toy_roles:Toy", ready: bool = True, **settings: str) -> None:
        """Start it with one toy splitter, short leases and the queue behind the proxy."""
        self.start(
            *options,
            role_class=role_class,
            ready=ready,
            **{
                "REDIS_URL": self._redis_url,
                "REDIS_PREFIX": self._prefix,
                "LEASE_SECONDS": f"{LEASE_SECONDS:g}",
                **settings,
            },
        )

    @property
    def queue(self) -> Queue:
        return Queue(self._direct, QueueOptions(self._prefix, lease_seconds=LEASE_SECONDS))

    def finished(self, job_id: str, status: JobStatus = JobStatus.DONE, seconds: float = 30.0) -> Job:
        """Return the job, once it ended so."""
        job = wait_for_job(self.queue, job_id, timeout=seconds)
        assert job.status is status, job.error
        return job

    def close(self) -> None:
        super().close()
        self._direct.close()
