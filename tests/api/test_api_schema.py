"""Requests made from the OpenAPI document: no answer is a 500, and none is one that the document does not describe."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from typing import Any, cast

import hypothesis
import pytest
import schemathesis
from api_support import Api, make_voice, running, tone
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as how
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from benchmarks.proofs.hostile_input import make_hostile
from core.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EXAMPLES = 10
"""Requests for each route: half of them fit the document, half do not, where something can be wrong."""
HOSTILE_SHARE = 0.5
"""Of the requests, in which one value is replaced by one that parsers, encoders or databases fail on."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXPECTED = (503, 504)
"""Nobody works here: what waits for a worker is told so."""


class Served:
    """The API on a loop of its own, in a thread, with something of every kind in its records."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.known: dict[str, str] = {}

    def __enter__(self) -> Served:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        async with running(self._settings) as api:
            self.url, self.schema = api.url, api.app.openapi()
            await self._fill(api)
            self._ready.set()
            await self._ended.wait()

    async def _fill(self, api: Api) -> None:
        """Ids that requests use now and then, by the name of the path's parameter."""
        form = {"file": ("a.wav", tone(2.0))}
        file_id = (await api.client.post("/api/v1/files", files=form)).json()["id"]
        whole = {"exp_name": "bob", "audio_file_id": file_id}
        task = (await api.client.post("/api/v1/tasks", json=whole)).json()
        await api.client.delete(f"/api/v1/tasks/{task['id']}")  # its streams have an end
        experiment = (await api.client.post("/api/v1/experiments", json=whole)).json()
        voice = await make_voice(api.services.records, "Allison")
        self.known = {
            "file_id": file_id,
            "task_id": task["id"],
            "exp_id": experiment["id"],
            "voice": voice.name,
            "job_id": f"{task['exp_id']}.convert.1",
            "stage": "asr",
            "step": "asr_transcribe",
        }


@pytest.fixture
def served(settings: Settings) -> Iterator[Served]:
    with Served(settings.model_copy(update={"synthesis_timeout_seconds": 0.05})) as created:
        yield created


def test_no_request_is_answered_in_a_way_that_the_document_does_not_describe(served: Served) -> None:
    schema = schemathesis.openapi.from_dict(served.schema)
    failures: list[str] = []
    operations = [cast(Any, result).ok() for result in schema.get_all_operations()]
    for operation in sorted(operations, key=lambda item: item.method == "delete"):
        failures += what_is_wrong_with(operation, served)

    assert not failures, "\n\n".join(failures)


def what_is_wrong_with(operation: Any, served: Served) -> list[str]:
    failures: list[str] = []
    modes = [GenerationMode.POSITIVE]
    if operation.body.items or operation.query.items:  # any word of a path is a name, if of nothing
        modes.append(GenerationMode.NEGATIVE)
    for mode in modes:
        try:
            ask_again_and_again(operation.as_strategy(generation_mode=mode), served)
        except (hypothesis.errors.Unsatisfiable, schemathesis.errors.InvalidSchema):
            continue  # nothing about this route can be wrong
        except (Exception, FailureGroup) as error:
            failures.append(f"{operation.method.upper()} {operation.path}: {explain(error)}")
    return failures


def ask_again_and_again(cases: Any, served: Served) -> None:
    numbers = random.Random(1)

    @given(case=cases)
    @how(
        max_examples=EXAMPLES // 2,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        for name, value in served.known.items():
            if name == "exp_id" and case.operation.path.endswith("/stream"):
                continue  # nothing of it has ended: its stream has no end either
            if name in case.path_parameters and len(str(case.path_parameters[name])) % 2:
                case.path_parameters[name] = value
        if numbers.random() < HOSTILE_SHARE:
            make_hostile(case, numbers)
        response = case.call(base_url=served.url, timeout=20)
        expected = response.status_code in EXPECTED
        case.validate_response(
            response, checks=[item for item in CHECKS if item is not not_a_server_error or not expected]
        )

    ask()


def explain(error: BaseException) -> str:
    """Return the failure itself, without the frames around it."""
    inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error
    return f"{inner} {getattr(error, 'message', '')}"
