"""The client for asyncio. `scripts/write_sync_client.py` makes `sync_client.py` of this file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import httpx

from sovitsd_client.errors import WaitTimeoutError, api_error
from sovitsd_client.records import (
    Event,
    Experiment,
    Inference,
    Page,
    RecordingFile,
    Task,
    Voice,
    parse_page,
    parse_record,
)
from sovitsd_client.requests import (
    EventParser,
    connection_to,
    idempotency_headers,
    live_speech,
    log_warnings,
    path_of,
    pause_after_error,
    pause_after_rejection,
    without_none,
)

POLL_SECONDS = 1.0
SHORT_TEXT_CHARACTERS = 4096
"""What one request of live speech takes; a longer text is spoken by an inference."""


class AsyncSovitsd:
    """A server of voices at an address."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 600.0,
        max_retries: int = 2,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        """Without a URL and a key, SOVITSD_URL and SOVITSD_API_KEY say them.

        `timeout`: seconds that the server may be silent. `http`: a client with other settings, such as a proxy.
        """
        self._connection = connection_to(url, api_key, timeout, max_retries)
        self.url = self._connection.url
        self.timeout = timeout
        self._http = http or httpx.AsyncClient(timeout=self._connection.timeout)
        self._owns_http = http is None
        self.files = AsyncFiles(self)
        self.tasks = AsyncTasks(self)
        self.voices = AsyncVoices(self)
        self.speech = AsyncSpeech(self)
        self.inference = AsyncInferences(self)
        self.experiments = AsyncExperiments(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._owns_http:
            await self._http.aclose()

    async def info(self) -> dict[str, Any]:
        """Return what the server is: version, models, languages, limits."""
        return await self.json("GET", "/api/v1/info")

    async def json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Send a request and return the JSON object of the response; `options` are those of httpx."""
        response = await self.request(method, path, **options)
        body: dict[str, Any] = response.json() if response.content else {}
        return body

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request, again where that is harmless, and return the response; raise ApiError for an error."""
        async with self.open(method, path, **options) as response:
            await response.aread()
            return response

    @asynccontextmanager
    async def open(self, method: str, path: str, **options: Any) -> AsyncIterator[httpx.Response]:
        """Send a request as `request` does, and give the response while its body still comes."""
        headers = {**self._connection.headers, **options.pop("headers", {})}
        request = self._http.build_request(method, self._connection.address_of(path), headers=headers, **options)
        response = await self._send(request)
        try:
            yield response
        except httpx.TransportError as error:  # the body broke off: the caller has a part of it
            pause_after_error(request, error, self._connection.max_retries, self._connection.max_retries)
        finally:
            await response.aclose()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        attempt = 0
        while True:
            try:
                response = await self._http.send(request, stream=True)
                if response.is_success:
                    return log_warnings(response)
                await response.aread()
                retries = self._connection.max_retries
                pause = pause_after_rejection(request, api_error(response), attempt, retries)
            except httpx.TransportError as error:
                pause = pause_after_error(request, error, attempt, self._connection.max_retries)
            await asyncio.sleep(pause)
            attempt += 1

    async def events(self, path: str) -> AsyncIterator[Event]:
        """Yield the events of a stream up to the last one, over as many connections as that takes."""
        last_id = ""
        attempt = 0
        while True:
            parser = EventParser(last_id)
            headers = {"Last-Event-ID": last_id} if last_id else {}
            request_headers = {**self._connection.headers, **headers}
            request = self._http.build_request("GET", self._connection.address_of(path), headers=request_headers)
            response = await self._send(request)
            try:
                async for line in response.aiter_lines():
                    for event in parser.feed(line):
                        attempt, last_id = 0, parser.last_id
                        yield event
                        if event.terminal:
                            return
            except httpx.TransportError as error:
                await asyncio.sleep(pause_after_error(request, error, attempt, self._connection.max_retries))
                attempt += 1
            else:  # the server stops, and comes back
                await asyncio.sleep(POLL_SECONDS)
            finally:
                await response.aclose()


@dataclass(frozen=True)
class AsyncFiles:
    """Uploaded recordings."""

    client: AsyncSovitsd

    async def upload(self, file: str | Path | BinaryIO, purpose: str = "training", filename: str = "") -> RecordingFile:
        """Upload a recording, or a ZIP of recordings."""
        if not isinstance(file, str | Path):
            return await self._upload(file, purpose, filename or Path(getattr(file, "name", "recording")).name)
        with open(file, "rb") as opened:  # noqa: ASYNC230
            return await self._upload(opened, purpose, filename or Path(file).name)

    async def _upload(self, file: BinaryIO, purpose: str, filename: str) -> RecordingFile:
        form = {"files": {"file": (filename, file)}, "data": {"purpose": purpose}}
        return parse_record(RecordingFile, await self.client.json("POST", "/api/v1/files", **form))

    async def list(self, limit: int = 50, offset: int = 0) -> Page[RecordingFile]:
        """Return uploaded files, newest first."""
        query = {"limit": limit, "offset": offset}
        return parse_page(RecordingFile, await self.client.json("GET", "/api/v1/files", params=query))

    async def get(self, file_id: str) -> RecordingFile:
        """Return what is known of a file."""
        return parse_record(RecordingFile, await self.client.json("GET", path_of("/api/v1/files/{}/metadata", file_id)))

    async def download(self, file_id: str, target: str | Path) -> None:
        """Write a file's content to `target`."""
        async with self.client.open("GET", path_of("/api/v1/files/{}", file_id)) as response:
            await self._write(response, target)

    @staticmethod
    async def _write(response: httpx.Response, target: str | Path) -> None:
        with open(target, "wb") as opened:  # noqa: ASYNC230
            async for block in response.aiter_bytes():
                opened.write(block)

    async def delete(self, file_id: str) -> None:
        """Delete a file that nothing uses."""
        await self.client.request("DELETE", path_of("/api/v1/files/{}", file_id))


@dataclass(frozen=True)
class AsyncTasks:
    """Recordings that become voices."""

    client: AsyncSovitsd

    async def create(
        self,
        name: str,
        file_id: str | None = None,
        *,
        version: str | None = None,
        language: str | None = None,
        quality: str | None = None,
        dataset_id: str | None = None,
        priority: int | None = None,
        webhook_url: str | None = None,
        idempotency_key: str = "",
        **options: Any,
    ) -> Task:
        """Make a voice of a recording or a data set. Further `options` are those of the API (docs/api.md)."""
        chosen = {"version": version, "language": language, "quality": quality, "dataset_id": dataset_id}
        body = {
            "exp_name": name,
            "audio_file_id": file_id,
            "options": without_none({**chosen, **options}),
            "priority": priority,
            "webhook_url": webhook_url,
        }
        headers = idempotency_headers(idempotency_key)
        data = await self.client.json("POST", "/api/v1/tasks", json=without_none(body), headers=headers)
        return parse_record(Task, data)

    async def list(self, status: str | None = None, limit: int = 50, offset: int = 0) -> Page[Task]:
        """Return tasks, newest first."""
        query = without_none({"status": status, "limit": limit, "offset": offset})
        return parse_page(Task, await self.client.json("GET", "/api/v1/tasks", params=query))

    async def get(self, task_id: str) -> Task:
        """Return a task as it is now."""
        return parse_record(Task, await self.client.json("GET", path_of("/api/v1/tasks/{}", task_id)))

    async def cancel(self, task_id: str) -> Task:
        """Stop a task; what is finished stays."""
        return parse_record(Task, await self.client.json("DELETE", path_of("/api/v1/tasks/{}", task_id)))

    def watch(self, task_id: str) -> AsyncIterator[Event]:
        """Yield what happens to a task until it has ended, what happened before first."""
        return self.client.events(path_of("/api/v1/tasks/{}/progress", task_id))

    async def wait(self, task_id: str, timeout: float | None = None) -> Task:  # noqa: ASYNC109
        """Wait until a task has ended and return it; raise WaitTimeoutError after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not (task := await self.get(task_id)).ended:
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeoutError(f"{task_id} is {task.status} after {timeout:g} s.")
            await asyncio.sleep(POLL_SECONDS)
        return task


@dataclass(frozen=True)
class AsyncVoices:
    """Voices that speak."""

    client: AsyncSovitsd

    async def list(self, limit: int = 50, offset: int = 0) -> Page[Voice]:
        """Return voices, newest first."""
        query = {"limit": limit, "offset": offset}
        return parse_page(Voice, await self.client.json("GET", "/api/v1/voices", params=query))

    async def get(self, voice: str) -> Voice:
        """Return a voice by its name or id."""
        return parse_record(Voice, await self.client.json("GET", path_of("/api/v1/voices/{}", voice)))

    async def delete(self, voice: str) -> None:
        """Delete a voice; its weights stay."""
        await self.client.request("DELETE", path_of("/api/v1/voices/{}", voice))


@dataclass(frozen=True)
class AsyncAudioStream:
    """Audio while it is generated: an iterator of chunks of bytes."""

    response: httpx.Response

    @property
    def sample_rate(self) -> int | None:
        """In Hz; None where the server does not say."""
        rate = self.response.headers.get("X-Sample-Rate")
        return int(rate) if rate else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self.response.aiter_bytes():
            yield chunk


@dataclass(frozen=True)
class AsyncSpeech:
    """Texts that become audio at once."""

    client: AsyncSovitsd

    async def create(
        self, text: str, voice: str, *, format: str = "mp3", language: str | None = None,
        speed: float | None = None, seed: int | None = None, **options: Any,
    ) -> bytes:  # fmt: skip
        """Return a text as an audio file. Further `options` are those of the API, such as `emotion` and `verify`."""
        options |= {"language": language, "speed": speed, "seed": seed}
        if len(text) > SHORT_TEXT_CHARACTERS:
            inference = await self.client.inference.create(text, voice, format=format, **options)
            await self.client.inference.wait(inference.id)
            return await self.client.inference.audio(inference.id)
        body = live_speech(text, voice, format, options)
        return (await self.client.request("POST", "/v1/audio/speech", json=body)).content

    @asynccontextmanager
    async def stream(
        self, text: str, voice: str, *, format: str = "mp3", language: str | None = None,
        speed: float | None = None, seed: int | None = None, **options: Any,
    ) -> AsyncIterator[AsyncAudioStream]:  # fmt: skip
        """Open the audio of a text of up to 4096 characters; it comes while it is generated."""
        options |= {"language": language, "speed": speed, "seed": seed}
        body = {**live_speech(text, voice, format, options), "stream_format": "audio"}
        async with self.client.open("POST", "/v1/audio/speech", json=body) as response:
            yield AsyncAudioStream(response)


@dataclass(frozen=True)
class AsyncInferences:
    """Texts of any length that become audio files in the background."""

    client: AsyncSovitsd

    async def create(
        self, text: str, voice: str, *, format: str = "wav", idempotency_key: str = "", **options: Any
    ) -> Inference:
        """Begin to speak a text. `options` are those of the API: language, speed, seed, emotion …"""
        body = {"text": text, "voice": voice, "format": format, **without_none(options)}
        headers = idempotency_headers(idempotency_key)
        return parse_record(Inference, await self.client.json("POST", "/api/v1/inference", json=body, headers=headers))

    async def get(self, inference_id: str) -> Inference:
        """Return an inference as it is now."""
        return parse_record(Inference, await self.client.json("GET", path_of("/api/v1/inference/{}", inference_id)))

    async def wait(self, inference_id: str, timeout: float | None = None) -> Inference:  # noqa: ASYNC109
        """Wait until an inference has ended and return it; raise WaitTimeoutError after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not (inference := await self.get(inference_id)).ended:
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeoutError(f"{inference_id} is {inference.status} after {timeout:g} s.")
            await asyncio.sleep(POLL_SECONDS / 5)
        return inference

    async def audio(self, inference_id: str) -> bytes:
        """Return the audio file; raise ApiError with the reason where there is none."""
        return (await self.client.request("GET", path_of("/api/v1/inference/{}/audio", inference_id))).content

    async def subtitles(self, inference_id: str, format: str = "srt", **options: Any) -> str:
        """Return subtitles: srt, vtt, or json with every word."""
        query = {"format": format, **options}
        return (
            await self.client.request("GET", path_of("/api/v1/inference/{}/subtitles", inference_id), params=query)
        ).text


@dataclass(frozen=True)
class AsyncExperiments:
    """Trainings stage by stage."""

    client: AsyncSovitsd

    async def create(self, name: str, file_id: str, version: str = "v2", **options: Any) -> Experiment:
        """Make an experiment; nothing runs yet."""
        body = {"exp_name": name, "audio_file_id": file_id, "version": version, **options}
        headers = idempotency_headers()
        return parse_record(
            Experiment, await self.client.json("POST", "/api/v1/experiments", json=body, headers=headers)
        )

    async def list(self, limit: int = 50, offset: int = 0) -> Page[Experiment]:
        """Return experiments, newest first."""
        query = {"limit": limit, "offset": offset}
        return parse_page(Experiment, await self.client.json("GET", "/api/v1/experiments", params=query))

    async def get(self, experiment_id: str) -> Experiment:
        """Return an experiment with its stages in `data`."""
        return parse_record(Experiment, await self.client.json("GET", path_of("/api/v1/experiments/{}", experiment_id)))

    async def run_stage(self, experiment_id: str, stage: str, **parameters: Any) -> Mapping[str, Any]:
        """Run a stage, once more if it has run before."""
        return await self.client.json(
            "POST", path_of("/api/v1/experiments/{}/stages/{}", experiment_id, stage), json=parameters
        )

    async def stage(self, experiment_id: str, stage: str) -> Mapping[str, Any]:
        """Return a stage as it is now, with its outputs."""
        return await self.client.json("GET", path_of("/api/v1/experiments/{}/stages/{}", experiment_id, stage))

    def watch_stage(self, experiment_id: str, stage: str) -> AsyncIterator[Event]:
        """Yield what happens to a stage until it has ended."""
        return self.client.events(path_of("/api/v1/experiments/{}/stages/{}/progress", experiment_id, stage))
