"""What the tests of the API share: a running server, workers that synthesize tones, recordings."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from prometheus_client import Gauge

from api.app import create_app
from api.dependencies import ApiServices
from api.serve import AnnouncingServer
from core.errors import ErrorData
from core.jobs.job import Lease, LeaseStatus, NewJob
from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions
from core.jobs.roles import SPLITTER, SYNTHESIZER
from core.media.encode import wav_file
from core.records import NewCheckpointRecord, NewVoiceRecord, Records, VoiceRecord
from core.redis import connect
from core.settings import Settings
from core.speech.requests import SpeechRequest, UtteranceRequest
from core.storage import Storage

RATE = 16_000
_numbers = itertools.count()


class TestServer(AnnouncingServer):
    """Leaves the signals of the test run alone."""

    __test__ = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class Api:
    """A running API as its clients and its tests see it."""

    url: str
    client: httpx.AsyncClient
    app: FastAPI
    settings: Settings

    @property
    def services(self) -> ApiServices:
        match: ApiServices = self.app.state.services
        return match


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Api]:
    """Yield the API on a free port for as long as the block lasts."""
    app = create_app(settings)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, proxy_headers=False, timeout_graceful_shutdown=2
    )
    server = TestServer(config, app, settings.data_path / "run" / "api.json")
    serving = asyncio.create_task(server.serve())
    while not server.started:
        assert not serving.done(), serving.exception()
        await asyncio.sleep(0.005)
    url = "http://{}:{}".format(*server.servers[0].sockets[0].getsockname())
    try:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            yield Api(url, client, app, settings)
    finally:
        server.handle_exit(0, None)
        await serving


def gauge_value(gauge: Gauge) -> float:
    """Return the value of a metric without labels."""
    [metric] = gauge.collect()
    return metric.samples[0].value


class ToneWorkers:
    """A worker thread for each speech role; an utterance becomes a tone as long as its text."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.storage = Storage(settings.storage_root)
        self.gate = threading.Event()
        """While it is cleared, utterances after the first wait before they are done."""
        self.gate.set()
        self.hold_first = False
        """Whether the gate holds the first utterance, too."""
        self.speech: Callable[[float], bytes] = lambda seconds: tone(seconds)[44:]
        """Makes the samples of an utterance of so many seconds."""
        self.error: ErrorData | None = None
        """What every utterance fails with."""
        self.requests: list[UtteranceRequest] = []
        self.cancelled: list[str] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(role,)) for role in (SPLITTER, SYNTHESIZER)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ended.set()
        self.gate.set()
        for thread in self._threads:
            thread.join()

    def _work(self, role: str) -> None:
        redis = connect(self.settings.redis_url)
        queue = Queue(redis, QueueOptions.from_settings(self.settings))
        worker = f"{role}-test-1-{next(_numbers)}"
        queue.register_worker(worker, role, "test", 1)
        while not self._ended.is_set():
            lease = queue.claim(role, worker, block_seconds=0.1)
            if lease is not None:
                (self._split if role == SPLITTER else self._synthesize)(queue, lease)
        queue.forget_worker(worker)
        redis.close()

    def _split(self, queue: Queue, lease: Lease) -> None:
        request = SpeechRequest.model_validate(lease.job.payload)
        texts = [text.strip() + "." for text in request.text.split(".") if text.strip()]
        parts = [
            UtteranceRequest(
                parent=lease.job.id,
                index=index,
                text=text,
                language="en",
                voice_id=request.voice_id,
                speed=request.speed,
                seed=request.seed,
                prompt=request.prompt,
                prompt_name=request.prompt_name,
                announced=bool(request.assembly),
            )
            for index, text in enumerate(texts)
        ]
        jobs = [NewJob(SYNTHESIZER, part.stored(), job_id=f"{part.parent}.{part.index}") for part in parts]
        queue.enqueue_many(jobs)
        view = [{"job_id": job.job_id, "text": part.text} for job, part in zip(jobs, parts, strict=True)]
        queue.ack(lease, {"utterances": view})

    def _synthesize(self, queue: Queue, lease: Lease) -> None:
        request = UtteranceRequest.model_validate(lease.job.payload)
        self.requests.append(request)
        while (request.index > 0 or self.hold_first) and not self.gate.wait(0.02):
            if queue.renew_lease(lease) is LeaseStatus.CANCEL:
                queue.confirm_cancel(lease)
                self.cancelled.append(lease.job.id)
                return
        if self.error is not None:
            queue.fail(lease, self.error, permanent=True)
            return
        seconds = len(request.text) / 20 / request.speed
        key = ""
        if lease.job.stream is not None:
            queue.publish_chunk(lease, 0, RATE, self.speech(seconds))
        else:
            key = f"speech/{request.parent}/{request.index}.wav"
            self.storage.put_bytes(key, wav_file(self.speech(seconds), RATE))
        result = {
            "audio": key,
            "sample_rate": RATE,
            "seconds": seconds,
            "pause_seconds": 0.3,
            "text": request.text,
        }
        queue.ack(lease, result)


def tone(seconds: float, amplitude: float = 0.5, rate: int = RATE) -> bytes:
    """Return a WAV of 220 Hz."""
    count = round(seconds * rate)
    values = (round(32767 * amplitude * math.sin(2 * math.pi * 220 * n / rate)) for n in range(count))
    samples = struct.pack(f"<{count}h", *values)
    header = struct.pack("<4sI8sIHHIIHH", b"RIFF", 36 + 2 * count, b"WAVEfmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return header + b"data" + struct.pack("<I", 2 * count) + samples


async def eventually(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Return what `condition` (a function, maybe a coroutine function) answers once it is something."""
    async with asyncio.timeout(seconds):
        while True:
            response = condition()
            if asyncio.iscoroutine(response):
                response = await response
            if response:
                return response
            await asyncio.sleep(0.01)


async def upload(client: httpx.AsyncClient, content: bytes | None = None, name: str = "a.wav") -> dict[str, Any]:
    """Return a recording of two seconds on the server."""
    response = await client.post("/api/v1/files", files={"file": (name, content or tone(2.0))})
    assert response.status_code == 201, response.text
    view: dict[str, Any] = response.json()
    return view


async def make_voice(records: Records, name: str) -> VoiceRecord:
    """Return a published voice without weights."""
    for kind in ("gpt", "sovits"):
        await records.checkpoints.create(
            NewCheckpointRecord(
                id=f"ckpt-{name}-{kind}", kind=kind, version="nano", name=name, sha256="0" * 64, size_bytes=1
            )
        )
    return await records.voices.create(
        NewVoiceRecord(
            name=name,
            version="nano",
            language="en",
            gpt_checkpoint_id=f"ckpt-{name}-gpt",
            sovits_checkpoint_id=f"ckpt-{name}-sovits",
            prompts=[{"name": "default", "audio": "voices/x/prompt.wav", "text": "Hello.", "language": "en"}],
        )
    )
