"""Requests with hostile values over every route: no 5xx but 503, and no response that the OpenAPI document lacks.

The requests are made from the document (schemathesis), and in most of them one value is replaced by one that parsers,
encoders or databases are known to fail on. They go to a server without keys, and to one with keys: with a key and
without one.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import hypothesis
import orjson
import schemathesis
from hypothesis import HealthCheck, Phase, given
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from benchmarks.proofs.report import REPOSITORY, write_proof
from common.programs import bound_command
from core.records import upgrade
from core.redis_server import EmbeddedServer
from core.settings import read_settings

KEY: Final = "hostile-input-key"
START_SECONDS: Final = 60.0
VARIANTS: Final = 15
"""Hostile ones of each generated request: generation is slower than the server."""
REQUEST_SECONDS: Final = 20
HOSTILE_VALUES: Final[tuple[Any, ...]] = (
    2**64,
    10**20,
    -(2**63) - 1,
    10**400,
    "\ud800",
    "a\udfffb",
    "a\0b",
    "a\r\nX-Injected: yes",
    "http://xn--/",
    "http://xn--a.xn--/a.wav",
    "http://[::1",
    "\u202eevil\x1b[2J",
    "x" * 10_000,
    "../../../../etc/passwd",
    1e308,
    -0.0,
    "",
    [],
    {},
    None,
    True,
    [[[[[[]]]]]] * 3,
)
SCHEMA_CHECKS: Final = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@dataclass
class Figures:
    """What the run has seen so far."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    operations: set[str] = field(default_factory=set)
    server_errors: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> int:
    """Send the requests and return 0 when all of them were answered as the document says."""
    parser = argparse.ArgumentParser(prog="scripts/prove hostile-input", description=__doc__)
    parser.add_argument("--requests", type=int, default=12_000)
    parser.add_argument("--seconds", type=float, default=3600.0, help="give up after this time (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    figures = Figures()
    started = time.monotonic()
    deadline = started + options.seconds
    with tempfile.TemporaryDirectory(prefix="prove-hostile-input-") as folder:
        for name, keys, headers, share in (
            ("open", "", {}, 0.4),
            ("with a key", KEY, {"X-API-Key": KEY}, 0.4),
            ("without its key", KEY, {}, 0.2),
        ):
            data = Path(folder, name.replace(" ", "-"))
            data.mkdir()
            with serving(data, keys) as url:
                send_requests(url, headers, round(options.requests * share), deadline, options.seed, figures)
    document = {
        "requests": figures.requests,
        "operations": len(figures.operations),
        "seconds": round(time.monotonic() - started),
        "statuses": {str(status): count for status, count in sorted(figures.statuses.items())},
        "server_errors": figures.server_errors[:20],
        "violations": figures.violations[:20],
    }
    passed = figures.requests >= min(options.requests, 10_000) and not figures.server_errors and not figures.violations
    return write_proof("hostile-input", document, passed=passed)


def send_requests(url: str, headers: dict[str, str], count: int, deadline: float, seed: int, figures: Figures) -> None:
    """Send about `count` requests, evenly over all routes, what deletes last."""
    document = httpx.get(f"{url}/openapi.json", timeout=30).json()
    schema = schemathesis.openapi.from_dict(document)
    operations: list[Any] = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
    operations.sort(key=lambda operation: (operation.method == "delete", operation.path))
    if not headers:  # the first key would end the open access
        operations = [operation for operation in operations if not operation.path.startswith("/api/v1/keys")]
    ids = create_resources(url, headers)
    until = figures.requests + count
    numbers = random.Random(seed)  # reproducible requests
    for round_number in itertools.count():
        for index, operation in enumerate(operations):
            left = until - figures.requests
            if left <= 0 or time.monotonic() > deadline:
                return
            examples = max(1, left // (len(operations) - index)) if round_number == 0 else 1
            modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
            for mode in modes:
                per_mode = max(1, examples // len(modes) // (VARIANTS + 1))
                with contextlib.suppress(hypothesis.errors.Unsatisfiable, schemathesis.errors.InvalidSchema):
                    _send(operation, mode, per_mode, url, headers, ids, numbers, figures, deadline)


def _send(
    operation: Any,
    mode: GenerationMode,
    count: int,
    url: str,
    headers: dict[str, str],
    ids: dict[str, str],
    numbers: random.Random,
    figures: Figures,
    deadline: float,
) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    def send(case: Any) -> None:
        if time.monotonic() > deadline:
            return
        _use_known_ids(case, ids, numbers)
        original = (case.body, case.query, case.path_parameters)
        for variant in range(VARIANTS + 1):
            if variant > 0:
                case.body, case.query, case.path_parameters = copy.deepcopy(original)
                make_hostile(case, numbers)
            send_case(case)

    def send_case(case: Any) -> None:
        label = f"{operation.method.upper()} {operation.path}"
        try:
            response = case.call(base_url=url, headers=headers, timeout=REQUEST_SECONDS)
        except ValueError:  # the client cannot send it
            return
        except OSError as error:
            figures.violations.append(f"{label}: no response, {type(error).__name__} {describe(case)}")
            return
        figures.requests += 1
        figures.operations.add(label)
        figures.statuses[response.status_code] += 1
        if response.status_code >= 500 and response.status_code != 503:
            figures.server_errors.append(f"{label}: {response.status_code} {describe(case)}")
            return
        try:
            checks = SCHEMA_CHECKS if response.status_code >= 500 else [not_a_server_error, *SCHEMA_CHECKS]
            case.validate_response(response, checks=checks)
        except (FailureGroup, AssertionError) as error:
            inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error
            figures.violations.append(f"{label}: {response.status_code} {str(inner)[:300]} {describe(case)}")

    send()


def make_hostile(case: Any, numbers: random.Random) -> None:
    """Replace one value of a case's body or query, or one part of its path, by a hostile one."""
    value = numbers.choice(HOSTILE_VALUES)
    places: list[tuple[Any, Any]] = []
    if isinstance(case.body, dict | list):
        places += list(_leaves(case.body))
    for parameters in (case.query, case.path_parameters):
        if isinstance(parameters, dict):
            places += [(parameters, name) for name in parameters]
    if not places:
        return
    container, key = numbers.choice(places)
    if container is case.query or container is case.path_parameters:
        text = str(value) if not isinstance(value, str) else value
        value = text.encode(errors="replace").decode()[:2000] or "x"
        if container is case.path_parameters:
            value = quote(value, safe="")
    container[key] = value


def _leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        yield value, key
        if isinstance(item, dict | list):
            yield from _leaves(item)


def _use_known_ids(case: Any, ids: dict[str, str], numbers: random.Random) -> None:
    for name in case.path_parameters or {}:
        endless = name == "exp_id" and case.operation.path.endswith(("/stream", "/progress"))
        if name in ids and not endless and numbers.random() < 0.5:
            case.path_parameters[name] = ids[name]


def describe(case: Any) -> str:
    """Return the request's values, shortened."""
    parts = (case.path_parameters, case.query, case.body)
    return ascii(parts)[:400]


def create_resources(url: str, headers: dict[str, str]) -> dict[str, str]:
    """Return ids of existing things by the name of the path's parameter; none where they cannot be created."""
    with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        recording = (REPOSITORY / "prompts").rglob("*.wav")
        uploaded = client.post("/api/v1/files", files={"file": ("a.wav", next(recording).read_bytes())})
        if uploaded.status_code != 201:
            return {}
        file_id = uploaded.json()["id"]
        body = {"exp_name": "bob", "audio_file_id": file_id}
        task = client.post("/api/v1/tasks", json=body).json()
        client.delete(f"/api/v1/tasks/{task['id']}")  # its streams have an end
        experiment = client.post("/api/v1/experiments", json=body).json()
    return {
        "file_id": file_id,
        "task_id": task["id"],
        "exp_id": experiment["id"],
        "stage": "asr",
        "step": "asr_transcribe",
        "job_id": f"{task['exp_id']}.convert.1",
    }


@contextlib.contextmanager
def serving(data: Path, keys: str) -> Iterator[str]:
    """Run the API with a Redis and a data folder of its own; yield its URL."""
    settings = read_settings(data_path=data)
    upgrade(settings.resolved_database_url)
    redis = EmbeddedServer(data / "redis")
    redis.start()
    environment = os.environ | {
        "DATA_PATH": str(data),
        "HOST": "127.0.0.1",
        "PORT": "0",
        "REDIS_URL": redis.url,
        "VALID_API_KEYS": keys,
        "ADMIN_API_KEYS": keys,
        "SYNTHESIS_TIMEOUT_SECONDS": "5",
        "LOG_LEVEL": "ERROR",
    }
    for name in ("DATABASE_URL", "STORAGE_URL", "ALLOWED_HOSTS", "CORS_ORIGINS"):
        environment.pop(name, None)
    api = subprocess.Popen(bound_command([sys.executable, "main.py", "api"]), cwd=REPOSITORY, env=environment)
    try:
        yield _announced_url(data / "run" / "api.json", api)
    finally:
        api.send_signal(signal.SIGTERM)
        api.wait(60)
        redis.stop()


def _announced_url(announcement: Path, api: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_SECONDS
    while not announcement.exists():
        if api.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"The API did not start; its exit code is {api.returncode}.")
        time.sleep(0.05)
    return str(orjson.loads(announcement.read_bytes())["url"])


if __name__ == "__main__":
    sys.exit(main())
