"""Redis as it is deployed: failovers during jobs, moved slots, TLS, least privilege, two products, wrong passwords."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_stage import REPOSITORY, Daemon, Stage, until
from job_waiting import wait_for_job
from redis import exceptions
from redis_servers import (
    Cluster,
    RealServer,
    SentinelSet,
    needs_redis,
    needs_sentinel,
    redis_binary,
    wait_until,
    write_certificates,
)

from core.jobs.events import Events
from core.jobs.job import JobStatus, NewJob
from core.jobs.queue import AsyncQueue, Queue
from core.jobs.queue_options import QueueOptions
from core.redis import connect, connect_async, is_connection_error
from core.redis_address import cluster_prefix
from core.settings import read_settings

pytestmark = [pytest.mark.slow, needs_redis]

PREFIX = "sovits:"


def queue_of(url: str, **settings: str) -> Queue:
    """Return the queue as the settings with this URL reach it."""
    configured = read_settings(redis_url=url, **settings)
    return Queue(connect(configured.resolved_redis_url), QueueOptions.from_settings(configured))


def enqueue_patiently(queue: Queue, *jobs: NewJob) -> None:
    """Enqueue as a client does that tries again: the ids make that harmless."""

    def accepted() -> bool:
        try:
            queue.enqueue_many(jobs)
        except Exception as error:
            if not is_connection_error(error):
                raise
            return False
        return True

    until(accepted, 30)


def end_of(queue: Queue, job_id: str) -> JobStatus:
    """Return how a job ended, whatever happens to the server meanwhile."""

    def ended() -> JobStatus | None:
        try:
            job = queue.job(job_id)
        except Exception as error:
            if not is_connection_error(error):
                raise
            return None
        assert job is not None, f"{job_id} is lost"
        return job.status if job.status.terminal else None

    status: JobStatus = until(ended, 60, what=job_id)
    return status


@pytest.fixture
def play(tmp_path: Path, stage: Stage) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "data", stage)
    yield daemon
    daemon.close()


@needs_sentinel
def test_a_sentinel_failover_during_jobs_loses_none_and_each_is_done_once(play: Daemon, stage: Stage, tmp_path: Path):
    with SentinelSet(tmp_path) as sentinels:
        play.start(REDIS_URL=sentinels.url)
        queue = queue_of(sentinels.url)
        enqueue_patiently(queue, *(NewJob("splitter", {"how": "wait"}, job_id=f"job-{n}") for n in range(5)))
        running = stage.next_run()
        wait_until(sentinels.replicated, "the replica")

        sentinels.fail_over()
        enqueue_patiently(queue, NewJob("splitter", {"how": "wait"}, job_id="job-5"))
        running.go_on()
        runs = [running] + [_let_go(stage) for _ in range(5)]

        assert {end_of(queue, f"job-{n}") for n in range(6)} == {JobStatus.DONE}
        assert sorted(run.job for run in runs) == [f"job-{n}" for n in range(6)]
        assert queue.counters()["done"] == 6
        assert not any("Restarting" in line for line in play.lines)


def test_a_promoted_replica_behind_the_same_address_takes_over(play: Daemon, stage: Stage, tmp_path: Path):
    with RealServer(tmp_path / "one") as server:
        play.start(REDIS_URL=server.url)
        queue = queue_of(server.url)
        enqueue_patiently(queue, NewJob("splitter", {"how": "wait"}, job_id="job-0"))
        running = stage.next_run()
        with server.client() as admin:
            admin.replicaof("127.0.0.1", "1")  # type: ignore[no-untyped-call]
            running.go_on()
            play.wait_for("The queue is away")
            admin.replicaof("NO", "ONE")  # type: ignore[no-untyped-call]

            assert end_of(queue, "job-0") is JobStatus.DONE
            assert (queue.counters()["done"], stage.is_empty()) == (1, True)


def test_a_moved_cluster_slot_during_jobs_loses_none_and_each_is_done_once(play: Daemon, stage: Stage, tmp_path: Path):
    with Cluster(tmp_path) as cluster:
        play.start(REDIS_URL=cluster.url)
        queue = queue_of(cluster.url)
        assert queue.prefix == "{sovits}:"
        enqueue_patiently(queue, *(NewJob("splitter", {"how": "wait"}, job_id=f"job-{n}") for n in range(4)))
        running = stage.next_run()

        def half_way() -> None:
            running.go_on()
            with pytest.raises((exceptions.AskError, exceptions.TryAgainError)) as rejected:
                queue.enqueue(NewJob("splitter", {"how": "wait"}, job_id="job-4"))
            assert is_connection_error(rejected.value)

        cluster.move_slot(cluster_prefix(PREFIX), half_way)
        enqueue_patiently(queue, NewJob("splitter", {"how": "wait"}, job_id="job-4"))
        runs = [running] + [_let_go(stage) for _ in range(4)]

        assert {end_of(queue, f"job-{n}") for n in range(5)} == {JobStatus.DONE}
        assert sorted(run.job for run in runs) == [f"job-{n}" for n in range(5)]
        assert queue.counters()["done"] == 5


@pytest.mark.parametrize("product", ["redis", "valkey"])
async def test_both_products_run_jobs_and_announce_their_ends(product: str, tmp_path: Path):
    with RealServer(tmp_path / product, binary=redis_binary(product)) as server:
        queue = queue_of(server.url)
        client = connect_async(server.url)
        job = queue.enqueue(NewJob("synthesizer", {}))
        lease = queue.claim("synthesizer", "worker-1")
        assert lease is not None
        threading.Timer(0.2, lambda: queue.ack(lease, {"product": product})).start()

        events = Events(AsyncQueue(client))
        done = await events.wait(job.id, 10)

        assert done.result == {"product": product}
        await events.close()
        await client.aclose()


def test_tls_with_a_private_authority(play: Daemon, stage: Stage, tmp_path: Path):
    certificates = write_certificates(tmp_path / "tls")
    with RealServer(tmp_path / "server", tls=certificates) as server:
        play.start(REDIS_URL=server.url, REDIS_CA_FILE=str(certificates / "ca.pem"))
        queue = queue_of(server.url, redis_ca_file=str(certificates / "ca.pem"))
        job = queue.enqueue(NewJob("splitter", {}))
        stage.next_run()

        assert wait_for_job(queue, job.id, 20).status is JobStatus.DONE
        untrusted = start_in_vain(tmp_path / "other", REDIS_URL=server.url)
        assert untrusted == (
            1,
            f"Redis on 127.0.0.1:{server.port} cannot be used: its certificate is not trusted. "
            "Set REDIS_CA_FILE to the authority that signed it.",
        )


def documented_rights() -> list[str]:
    """Return the rights that docs/operations.md gives the user, as ACL SETUSER takes them."""
    text = (REPOSITORY / "docs" / "operations.md").read_text()
    match = re.search(r"ACL SETUSER sovits on >PASSWORD (.*?)\n```", text, re.DOTALL)
    assert match is not None
    return match[1].replace("\\\n", " ").split()


def test_a_user_with_the_documented_rights_and_no_others_is_enough(play: Daemon, stage: Stage, tmp_path: Path):
    with RealServer(tmp_path / "server") as server, server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "sovits", "on", ">hush", *documented_rights())  # type: ignore[no-untyped-call]
        admin.execute_command("ACL", "SETUSER", "narrow", "on", ">hush", "~sovits:*", "&sovits:*", "+ping")  # type: ignore[no-untyped-call]
        url = f"redis://sovits:hush@127.0.0.1:{server.port}/0"
        play.start("--roles", "splitter", REDIS_URL=url)
        queue = queue_of(url)
        job = queue.enqueue(NewJob("splitter", {}))
        stage.next_run()
        assert wait_for_job(queue, job.id, 20).status is JobStatus.DONE
        dead = queue.enqueue(NewJob("splitter", {"how": "refuse"}, device="cpu"))
        stage.next_run()
        assert wait_for_job(queue, dead.id, 20).status is JobStatus.DEAD
        assert queue.replay(dead.id)
        stage.next_run()
        wait_for_job(queue, dead.id, 20)
        assert queue.jobs()[1] == 2

        code, message = start_in_vain(tmp_path / "other", REDIS_URL=f"redis://narrow:hush@127.0.0.1:{server.port}/0")

        assert code == 1
        assert "may not do on 127.0.0.1" in message
        assert "docs/operations.md lists the rights" in message
        assert play.drain() == 0
        assert not any("NOPERM" in line or "permission" in line for line in play.lines)


@pytest.mark.parametrize("url", ["redis://:wrong@{}", "redis://{}"])
def test_a_wrong_password_aborts_the_start_with_a_sentence(url: str, tmp_path: Path):
    with RealServer(tmp_path / "server", "--requirepass", "right") as server:
        code, message = start_in_vain(tmp_path / "data", REDIS_URL=url.format(f"127.0.0.1:{server.port}"))

    assert code == 1
    assert "cannot be used: it rejects the user name or the password" in message
    assert "Correct REDIS_URL." in message
    assert "wrong@" not in message


def test_a_server_that_is_no_sentinel_is_named(tmp_path: Path):
    with RealServer(tmp_path / "server") as server:
        url = f"redis+sentinel://127.0.0.1:{server.port}/voices"
        code, message = start_in_vain(tmp_path / "data", REDIS_URL=url)

    assert code == 1
    assert "cannot be used: it is no sentinel." in message


def test_a_cluster_behind_a_plain_address_is_named(tmp_path: Path):
    with Cluster(tmp_path) as cluster:
        code, message = start_in_vain(tmp_path / "data", REDIS_URL=cluster.nodes[0].url)

    assert (code, message) == (
        1,
        "This server is a node of a Redis Cluster. REDIS_URL begins with redis+cluster:// for it.",
    )


def start_in_vain(folder: Path, **settings: str) -> tuple[int, str]:
    """Return the exit code of a daemon that cannot start, and its last line."""
    environment = {**os.environ, "DATA_PATH": str(folder), "PORT": "0", **settings}
    command = [sys.executable, str(REPOSITORY / "main.py"), "serve"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stderr.strip().splitlines()[-1]


def _let_go(stage: Stage):  # type: ignore[no-untyped-def]
    run = stage.next_run(60)
    run.go_on()
    return run
