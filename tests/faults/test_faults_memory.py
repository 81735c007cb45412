"""The memory of Redis fills up: new requests are rejected while what is there can still end."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import QueueUnavailable
from core.jobs.job import NewJob
from core.jobs.queue import AsyncQueue, Queue
from core.jobs.queue_options import QueueOptions
from core.redis import connect, connect_async
from core.redis_server import EmbeddedServer


async def test_near_the_limit_new_work_is_rejected_and_what_runs_can_still_end(server: EmbeddedServer):
    client, async_client = connect(server.url), connect_async(server.url)
    options = QueueOptions("memory:", memory_share=0.9)
    worker, api = Queue(client, QueueOptions("memory:")), AsyncQueue(async_client, options)
    await api.enqueue(NewJob("splitter", {}, job_id="before"))
    lease = worker.claim("splitter", "worker-1")
    assert lease is not None
    used = int(client.info("memory")["used_memory"])

    client.config_set("maxmemory", int(used * 1.05))
    try:
        with pytest.raises(QueueUnavailable, match=r"uses \d+% of its memory and takes nothing new") as rejected:
            await AsyncQueue(async_client, options).enqueue(NewJob("splitter", {}, job_id="new"))
        worker.enqueue(NewJob("splitter", {}, job_id="before.0"))  # a part of what was accepted
        assert worker.ack(lease, {})
    finally:
        client.config_set("maxmemory", 0)

    assert "REDIS_MEMORY_MB" in rejected.value.hint
    assert worker.job("new") is None
    await async_client.aclose()
    client.close()


def test_the_embedded_server_has_a_limit_and_evicts_nothing(tmp_path: Path):
    server = EmbeddedServer(tmp_path / "redis", memory_mb=300)
    server.start()
    with connect(server.url) as client:
        settings = client.config_get("maxmemory*")
    server.stop()

    assert (settings["maxmemory"], settings["maxmemory-policy"]) == (str(300 << 20), "noeviction")
