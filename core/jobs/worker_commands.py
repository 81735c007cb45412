"""What workers and those who watch over them do: claim jobs, renew leases, end jobs, rescue those of dead workers."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import orjson

from core.errors import ErrorData, LeaseLost
from core.jobs.history_commands import TOPIC_SECONDS
from core.jobs.job import ChunkStatus, JobStatus, Lease, LeaseStatus, RescuedJob, WorkerInfo, WorkerLocation
from core.jobs.job_fields import identify, pair_up, parse_job, parse_rescued, waiting_list
from core.jobs.queue_options import OptionedCommands
from core.jobs.transport import AnyTransport, command

BATCH_SIZE: Final = 100
"""Jobs that one script reaps or promotes: the server does nothing else while a script runs."""
BLOCK_SECONDS: Final = 5.0
"""One blocking pop lasts at most so long; the socket times out 5 s later (core/redis.py)."""
FULL_SECONDS: Final = 0.2
"""How soon a worker whose device is full claims again; nothing would wake it."""
PREFERENCE_SECONDS: Final = 0.02
"""How soon a worker claims again that left a job to one that has its voice loaded."""
UNCLAIMED_SECONDS: Final = 10.0
"""An id that was popped and not claimed for so long goes back: its worker died in between."""
OUTAGE_SECONDS: Final = 10.0
"""Without a reaper for so long, Redis was away; then workers get one more lease to come back in."""
HOLDER_SECONDS: Final = 3600
"""How long it is known what a worker process has loaded, unless it records it again."""
MAX_CHUNKS: Final = 256
"""Chunks of one stream that wait for their reader; the worker waits before it adds more."""
SILENT_SECONDS: Final = 300.0
"""A worker without a heartbeat for so long is forgotten."""


class WorkerCommands(OptionedCommands[AnyTransport]):
    """Commands of workers, and of the supervisor for them."""

    # The worker of a job

    @command
    async def claim(
        self,
        role: str,
        worker_id: str,
        block_seconds: float = 0.0,
        location: WorkerLocation | None = None,
        *,
        draining: bool = False,
    ) -> Lease | None:
        """Claim the next job of a role, waiting up to `block_seconds` for one; a new job wakes the claim.

        A worker holds one job at a time: when it claims again before the first job has ended, it gets that job again,
        with a new token. So a claim whose reply was lost strands nothing. A worker that names its `location` is held to
        the limits there and also gets jobs with a constraint that its device meets. One that is `draining` gets only
        what continues a stream of audio, and does not wait for it.
        """
        list_name = waiting_list(role)
        arguments: tuple[object, ...] = ("", "", "", 0)
        if location is not None:
            if location.dedicated:
                list_name = f"{list_name}@{location.device}"
            arguments = (location.device, location.kind, location.host, location.limit)
        deadline = time.monotonic() + block_seconds
        while True:
            reply = await self._run_script(
                "claim", worker_id, list_name, self.options.lease_seconds, self._keep, *arguments, int(draining)
            )
            if isinstance(reply, list):
                job_id, expires_at, fields = reply
                job = parse_job(job_id, fields)
                return Lease(job, worker_id, job.token, float(expires_at))
            seconds = min(BLOCK_SECONDS, deadline - time.monotonic())
            if seconds <= 0 or draining:
                return None
            if reply == "later":
                await self.transport.sleep(PREFERENCE_SECONDS)
            elif reply == "full":
                # The jobs that wait may be for other workers, who must find them in the list.
                await self.transport.sleep(min(seconds, FULL_SECONDS))
            else:
                # The pop moves an id to the worker's own list, where the next claim finds it. It is sent only once: a
                # second one, after a lost reply, would move a second job.
                processing = self.key(f"processing:{worker_id}")
                await self.transport.execute("BLMOVE", self.key(list_name), processing, "RIGHT", "LEFT", seconds)

    @command
    async def renew_lease(self, lease: Lease) -> LeaseStatus:
        """Renew a lease. One that has expired is renewed, too, unless the reaper was quicker."""
        return LeaseStatus(await self._run_script("renew_lease", *identify(lease), self.options.lease_seconds))

    @command
    async def progress(self, lease: Lease, data: Mapping[str, object], kind: str = "progress") -> LeaseStatus:
        """Renew a lease and add an event to the history of the job and of its topic."""
        event = (kind, orjson.dumps(data), os.urandom(6).hex(), self._keep, TOPIC_SECONDS)
        return LeaseStatus(await self._run_script("progress", *identify(lease), self.options.lease_seconds, *event))

    @command
    async def renew_leases(self, leases: Sequence[Lease], worker_ids: Iterable[str]) -> list[LeaseStatus]:
        """Renew all leases of a process, as `renew_lease` does, and record that its workers are alive."""
        identities = [part for lease in leases for part in identify(lease)]
        arguments = (self.options.lease_seconds, len(leases), *identities, *worker_ids)
        return [LeaseStatus(status) for status in await self._run_script("renew_leases", *arguments)]

    @command
    async def publish_chunk(
        self, lease: Lease, start: int, sample_rate: int, samples: bytes, words: Sequence[Mapping[str, object]] = ()
    ) -> ChunkStatus:
        """Renew a lease and add samples, `start` bytes from the beginning, to the stream of audio of the job.

        What was published before is left out, so a worker that takes a job over publishes it all again. `words`: those
        that end in the samples.
        """
        spoken = orjson.dumps(words) if words else b""
        arguments = (self.options.lease_seconds, start, sample_rate, samples, MAX_CHUNKS, spoken)
        return ChunkStatus(await self._run_script("publish_chunk", *identify(lease), *arguments))

    @command
    async def ack(self, lease: Lease, result: Mapping[str, object]) -> bool:
        """End a job with its result; return False when the lease was lost and the result is rejected."""
        return bool(await self._run_script("ack", *identify(lease), orjson.dumps(result), self._keep))

    @command
    async def fail(
        self, lease: Lease, error: ErrorData, *, permanent: bool = False, callers_mistake: bool = False
    ) -> JobStatus:
        """Count a failed attempt; LeaseLost when the job is another worker's by now.

        Return DELAYED when there will be another attempt, DEAD when not, CANCELLED when that had been requested.
        `callers_mistake`: the job ends DEAD at once, without a dead letter.
        """
        status = await self._run_script(
            "fail",
            *identify(lease),
            orjson.dumps(error),
            str(error.get("code", "")),
            str(error.get("message", "")),
            int(permanent),
            self.options.retry_attempts,
            self.options.retry_delay_seconds,
            random.uniform(0.5, 1.0),  # so that what failed together does not come back together
            self._keep,
            int(callers_mistake),
        )
        if status == "lost":
            raise LeaseLost(f"The job {lease.job.id} is not this worker's any more.")
        return JobStatus(status)

    @command
    async def confirm_cancel(self, lease: Lease) -> bool:
        """End a job whose worker stopped on request; return False when nobody requested it or the lease was lost."""
        return bool(await self._run_script("confirm_cancel", *identify(lease), self._keep))

    @command
    async def release(self, lease: Lease) -> bool:
        """Return a job to the front of its list, counted neither as an attempt nor as a rescue."""
        return bool(await self._run_script("release", *identify(lease), self._keep))

    @command
    async def reconcile(self, worker_id: str, held: Iterable[str] = ()) -> int:
        """Return the jobs of a worker process except `held`, which it knows of, to their lists; nothing is counted.

        Return how many.
        """
        return int(await self._run_script("reconcile", worker_id, self._keep, *held))

    @command
    async def undo_rescue(self, worker_id: str, job_id: str) -> bool:
        """Uncount the latest rescue from a worker, if it was of this job: it is alive and was only cut off from Redis.

        Return False when there is none.
        """
        return bool(await self._run_script("undo_rescue", worker_id, job_id))

    # Jobs without a living worker

    @command
    async def rescue_worker(self, worker_id: str) -> list[RescuedJob]:
        """Requeue the jobs of a dead worker process, those of all its slots."""
        return parse_rescued(await self._run_script("rescue_worker", worker_id, self._keep))

    @command
    async def reap(self) -> list[RescuedJob]:
        """Requeue jobs whose lease expired, and ids that were popped and not claimed within 10 s."""
        rescued: list[RescuedJob] = []
        arguments = (BATCH_SIZE, self.options.lease_seconds, UNCLAIMED_SECONDS, OUTAGE_SECONDS, SILENT_SECONDS)
        while True:
            batch = parse_rescued(await self._run_script("reap", *arguments, self._keep))
            rescued += batch
            if len(batch) < BATCH_SIZE:
                return rescued

    @command
    async def promote(self) -> int:
        """Let delayed jobs wait again whose time has come; return how many."""
        promoted = 0
        while True:
            batch = int(await self._run_script("promote", BATCH_SIZE))
            promoted += batch
            if batch < BATCH_SIZE:
                return promoted

    # Workers

    @command
    async def register_worker(
        self, worker_id: str, role: str, host: str, pid: int, device: str = "cpu", slots: int = 1
    ) -> None:
        """Record that a worker is ready; `slots` are the workers of its process."""
        await self._run_script("register_worker", worker_id, role, host, pid, device, slots)

    @command
    async def worker_heartbeat(self, worker_id: str) -> None:
        """Record that a worker is alive."""
        await self._run_script("worker_heartbeat", worker_id)

    @command
    async def forget_worker(self, worker_id: str) -> None:
        """Delete the records of a worker process that ended, those of all its slots."""
        await self._run_script("forget_worker", worker_id)

    @command
    async def note_draining(self, worker_id: str) -> None:
        """Record that a worker claims nothing new any more."""
        await self._send("HSET", self.key(f"worker:{worker_id}"), "draining", 1)

    @command
    async def workers(self) -> list[WorkerInfo]:
        """Return the workers that registered, have not ended and had a heartbeat in the last minutes."""
        workers = []
        for worker_id, silent_seconds, job_id, flat in await self._run_script("workers"):
            fields = pair_up(flat)
            workers.append(
                WorkerInfo(
                    id=worker_id,
                    role=fields["role"],
                    host=fields["host"],
                    pid=int(fields["pid"]),
                    device=fields["device"],
                    since=float(fields["since"]),
                    job=job_id,
                    silent_seconds=float(silent_seconds),
                    draining="draining" in fields,
                )
            )
        return workers

    @command
    async def hold(self, process: str, loaded: Iterable[str], dropped: Iterable[str]) -> None:
        """Record what a worker process has loaded now, and what it no longer has: jobs that prefer it go there."""
        for affinity in loaded:
            await self._send("SADD", self.key(f"holders:{affinity}"), process)
            await self._send("EXPIRE", self.key(f"holders:{affinity}"), HOLDER_SECONDS)
        for affinity in dropped:
            await self._send("SREM", self.key(f"holders:{affinity}"), process)

    @command
    async def keep_listening(self, listener: str, seconds: float) -> None:
        """Record that a process listens to its streams for so long; 0: that it has ended."""
        if seconds > 0:
            await self._send("SET", self.key(f"listener:{listener}"), 1, "PX", math.ceil(1000 * seconds))
        else:
            await self._send("DEL", self.key(f"listener:{listener}"))
