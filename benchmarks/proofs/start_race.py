"""Requests without a key, sent while the API starts, are never allowed when a key exists.

Each start has CLIENTS callers who connect again and again until each of them got RESPONSES responses.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

import httpx

from benchmarks.proofs.report import REPOSITORY, write_proof
from common.programs import bound_command
from core.records import Records, upgrade
from core.redis_server import EmbeddedServer
from core.settings import read_settings

CLIENTS: Final = 40
RESPONSES: Final = 3
START_SECONDS: Final = 60.0
REJECTED: Final = frozenset((401, 503))


def main(arguments: list[str] | None = None) -> int:
    """Start the API as often as requested and return 0 when every response was a rejection."""
    parser = argparse.ArgumentParser(prog="scripts/prove start-race", description=__doc__)
    parser.add_argument("--starts", type=int, default=20)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="prove-start-race-") as folder:
        statuses = run_starts(Path(folder), options.starts)
    figures = {"starts": options.starts, "clients": CLIENTS, "responses": {str(s): n for s, n in statuses.items()}}
    return write_proof("start-race", figures, passed=set(statuses) <= REJECTED and 401 in statuses)


def run_starts(data: Path, starts: int) -> Counter[int]:
    """Start and stop the API on a data folder with one key; return how often each status came."""
    settings = read_settings(data_path=data)
    upgrade(settings.resolved_database_url)
    asyncio.run(_create_key(settings.resolved_database_url))
    redis = EmbeddedServer(data / "redis")
    redis.start()
    statuses: Counter[int] = Counter()
    try:
        for _ in range(starts):
            statuses += _start_once(data, redis.url)
    finally:
        redis.stop()
    return statuses


def _start_once(data: Path, redis_url: str) -> Counter[int]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = os.environ | {"DATA_PATH": str(data), "HOST": "127.0.0.1", "PORT": str(port), "REDIS_URL": redis_url}
    for name in ("VALID_API_KEYS", "DATABASE_URL", "STORAGE_URL"):
        environment.pop(name, None)
    api = subprocess.Popen(
        bound_command([sys.executable, "main.py", "api"]), cwd=REPOSITORY, env=environment, stderr=subprocess.DEVNULL
    )
    try:
        return asyncio.run(_call(f"http://127.0.0.1:{port}/api/v1/tasks"))
    finally:
        api.send_signal(signal.SIGTERM)
        api.wait(30)


async def _call(url: str) -> Counter[int]:
    statuses: Counter[int] = Counter()

    async def caller() -> None:
        responses = 0
        async with httpx.AsyncClient(timeout=30) as client:
            while responses < RESPONSES:
                try:
                    response = await client.get(url)
                except httpx.TransportError:  # not listening yet
                    await asyncio.sleep(0.005)
                    continue
                statuses[response.status_code] += 1
                responses += 1

    async with asyncio.timeout(START_SECONDS):
        await asyncio.gather(*(caller() for _ in range(CLIENTS)))
    return statuses


async def _create_key(database_url: str) -> None:
    records = Records(database_url)
    await records.api_keys.create("only")
    await records.close()


if __name__ == "__main__":
    sys.exit(main())
