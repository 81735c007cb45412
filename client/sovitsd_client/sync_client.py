"""The client. Written by `scripts/write_sync_client.py` from `async_client.py`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


class Sovitsd:
    """A server of voices at an address."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 600.0,
        max_retries: int = 2,
        http: httpx.Client | None = None,
    ) -> None:
        """Without a URL and a key, SOVITSD_URL and SOVITSD_API_KEY say them.

        `timeout`: seconds that the server may be silent. `http`: a client with other settings, such as a proxy.
        """
        self._connection = connection_to(url, api_key, timeout, max_retries)
        self.url = self._connection.url
        self.timeout = timeout
        self._http = http or httpx.Client(timeout=self._connection.timeout)
        self._owns_http = http is None
        self.files = Files(self)
        self.tasks = Tasks(self)
        self.voices = Voices(self)
        self.speech = Speech(self)
        self.inference = Inferences(self)
        self.experiments = Experiments(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._owns_http:
            self._http.close()

    def info(self) -> dict[str, Any]:
        """Return what the server is: version, models, languages, limits."""
        return self.json("GET", "/api/v1/info")

    def json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Send a request and return the JSON object of the response; `options` are those of httpx."""
        response = self.request(method, path, **options)
        body: dict[str, Any] = response.json() if response.content else {}
        return body

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request, again where that is harmless, and return the response; raise ApiError for an error."""
        with self.open(method, path, **options) as response:
            response.read()
            return response

    @contextmanager
    def open(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        """Send a request as `request` does, and give the response while its body still comes."""
        headers = {**self._connection.headers, **options.pop("headers", {})}
        request = self._http.build_request(method, self._connection.address_of(path), headers=headers, **options)
        response = self._send(request)
        try:
            yield response
        except httpx.TransportError as error:  # the body broke off: the caller has a part of it
            pause_after_error(request, error, self._connection.max_retries, self._connection.max_retries)
        finally:
            response.close()

    def _send(self, request: httpx.Request) -> httpx.Response:
        attempt = 0
        while True:
            try:
                response = self._http.send(request, stream=True)
                if response.is_success:
                    return log_warnings(response)
                response.read()
                retries = self._connection.max_retries
                pause = pause_after_rejection(request, api_error(response), attempt, retries)
            except httpx.TransportError as error:
                pause = pause_after_error(request, error, attempt, self._connection.max_retries)
            time.sleep(pause)
            attempt += 1

    def events(self, path: str) -> Iterator[Event]:
        """Yield the events of a stream up to the last one, over as many connections as that takes."""
        last_id = ""
        attempt = 0
        while True:
            parser = EventParser(last_id)
            headers = {"Last-Event-ID": last_id} if last_id else {}
            request_headers = {**self._connection.headers, **headers}
            request = self._http.build_request("GET", self._connection.address_of(path), headers=request_headers)
            response = self._send(request)
            try:
                for line in response.iter_lines():
                    for event in parser.feed(line):
                        attempt, last_id = 0, parser.last_id
                        yield event
                        if event.terminal:
                            return
            except httpx.TransportError as error:
                time.sleep(pause_after_error(request, error, attempt, self._connection.max_retries))
                attempt += 1
            else:  # the server stops, and comes back
                time.sleep(POLL_SECONDS)
            finally:
                response.close()


@dataclass(frozen=True)
class Files:
    """Uploaded recordings."""

    client: Sovitsd

    def upload(self, file: str | Path | BinaryIO, purpose: str = "training", filename: str = "") -> RecordingFile:
        """Upload a recording, or a ZIP of recordings."""
        if not isinstance(file, str | Path):
            return self._upload(file, purpose, filename or Path(getattr(file, "name", "recording")).name)
        with open(file, "rb") as opened:
            return self._upload(opened, purpose, filename or Path(file).name)

    def _upload(self, file: BinaryIO, purpose: str, filename: str) -> RecordingFile:
        form = {"files": {"file": (filename, file)}, "data": {"purpose": purpose}}
        return parse_record(RecordingFile, self.client.json("POST", "/api/v1/files", **form))

    def list(self, limit: int = 50, offset: int = 0) -> Page[RecordingFile]:
        """Return uploaded files, newest first."""
        query = {"limit": limit, "offset": offset}
        return parse_page(RecordingFile, self.client.json("GET", "/api/v1/files", params=query))

    def get(self, file_id: str) -> RecordingFile:
        """Return what is known of a file."""
        return parse_record(RecordingFile, self.client.json("GET", path_of("/api/v1/files/{}/metadata", file_id)))

    def download(self, file_id: str, target: str | Path) -> None:
        """Write a file's content to `target`."""
        with self.client.open("GET", path_of("/api/v1/files/{}", file_id)) as response:
            self._write(response, target)

    @staticmethod
    def _write(response: httpx.Response, target: str | Path) -> None:
        with open(target, "wb") as opened:
            for block in response.iter_bytes():
                opened.write(block)

    def delete(self, file_id: str) -> None:
        """Delete a file that nothing uses."""
        self.client.request("DELETE", path_of("/api/v1/files/{}", file_id))


@dataclass(frozen=True)
class Tasks:
    """Recordings that become voices."""

    client: Sovitsd

    def create(
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
        data = self.client.json("POST", "/api/v1/tasks", json=without_none(body), headers=headers)
        return parse_record(Task, data)

    def list(self, status: str | None = None, limit: int = 50, offset: int = 0) -> Page[Task]:
        """Return tasks, newest first."""
        query = without_none({"status": status, "limit": limit, "offset": offset})
        return parse_page(Task, self.client.json("GET", "/api/v1/tasks", params=query))

    def get(self, task_id: str) -> Task:
        """Return a task as it is now."""
        return parse_record(Task, self.client.json("GET", path_of("/api/v1/tasks/{}", task_id)))

    def cancel(self, task_id: str) -> Task:
        """Stop a task; what is finished stays."""
        return parse_record(Task, self.client.json("DELETE", path_of("/api/v1/tasks/{}", task_id)))

    def watch(self, task_id: str) -> Iterator[Event]:
        """Yield what happens to a task until it has ended, what happened before first."""
        return self.client.events(path_of("/api/v1/tasks/{}/progress", task_id))

    def wait(self, task_id: str, timeout: float | None = None) -> Task:
        """Wait until a task has ended and return it; raise WaitTimeoutError after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not (task := self.get(task_id)).ended:
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeoutError(f"{task_id} is {task.status} after {timeout:g} s.")
            time.sleep(POLL_SECONDS)
        return task


@dataclass(frozen=True)
class Voices:
    """Voices that speak."""

    client: Sovitsd

    def list(self, limit: int = 50, offset: int = 0) -> Page[Voice]:
        """Return voices, newest first."""
        query = {"limit": limit, "offset": offset}
        return parse_page(Voice, self.client.json("GET", "/api/v1/voices", params=query))

    def get(self, voice: str) -> Voice:
        """Return a voice by its name or id."""
        return parse_record(Voice, self.client.json("GET", path_of("/api/v1/voices/{}", voice)))

    def delete(self, voice: str) -> None:
        """Delete a voice; its weights stay."""
        self.client.request("DELETE", path_of("/api/v1/voices/{}", voice))


@dataclass(frozen=True)
class AudioStream:
    """Audio while it is generated: an iterator of chunks of bytes."""

    response: httpx.Response

    @property
    def sample_rate(self) -> int | None:
        """In Hz; None where the server does not say."""
        rate = self.response.headers.get("X-Sample-Rate")
        return int(rate) if rate else None

    def __iter__(self) -> Iterator[bytes]:
        yield from self.response.iter_bytes()


@dataclass(frozen=True)
class Speech:
    """Texts that become audio at once."""

    client: Sovitsd

    def create(
        self, text: str, voice: str, *, format: str = "mp3", language: str | None = None,
        speed: float | None = None, seed: int | None = None, **options: Any,
    ) -> bytes:  # fmt: skip
        """Return a text as an audio file. Further `options` are those of the API, such as `emotion` and `verify`."""
        options |= {"language": language, "speed": speed, "seed": seed}
        if len(text) > SHORT_TEXT_CHARACTERS:
            inference = self.client.inference.create(text, voice, format=format, **options)
            self.client.inference.wait(inference.id)
            return self.client.inference.audio(inference.id)
        body = live_speech(text, voice, format, options)
        return (self.client.request("POST", "/v1/audio/speech", json=body)).content

    @contextmanager
    def stream(
        self, text: str, voice: str, *, format: str = "mp3", language: str | None = None,
        speed: float | None = None, seed: int | None = None, **options: Any,
    ) -> Iterator[AudioStream]:  # fmt: skip
        """Open the audio of a text of up to 4096 characters; it comes while it is generated."""
        options |= {"language": language, "speed": speed, "seed": seed}
        body = {**live_speech(text, voice, format, options), "stream_format": "audio"}
        with self.client.open("POST", "/v1/audio/speech", json=body) as response:
            yield AudioStream(response)


@dataclass(frozen=True)
class Inferences:
    """Texts of any length that become audio files in the background."""

    client: Sovitsd

    def create(
        self, text: str, voice: str, *, format: str = "wav", idempotency_key: str = "", **options: Any
    ) -> Inference:
        """Begin to speak a text. `options` are those of the API: language, speed, seed, emotion …"""
        body = {"text": text, "voice": voice, "format": format, **without_none(options)}
        headers = idempotency_headers(idempotency_key)
        return parse_record(Inference, self.client.json("POST", "/api/v1/inference", json=body, headers=headers))

    def get(self, inference_id: str) -> Inference:
        """Return an inference as it is now."""
        return parse_record(Inference, self.client.json("GET", path_of("/api/v1/inference/{}", inference_id)))

    def wait(self, inference_id: str, timeout: float | None = None) -> Inference:
        """Wait until an inference has ended and return it; raise WaitTimeoutError after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not (inference := self.get(inference_id)).ended:
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeoutError(f"{inference_id} is {inference.status} after {timeout:g} s.")
            time.sleep(POLL_SECONDS / 5)
        return inference

    def audio(self, inference_id: str) -> bytes:
        """Return the audio file; raise ApiError with the reason where there is none."""
        return (self.client.request("GET", path_of("/api/v1/inference/{}/audio", inference_id))).content

    def subtitles(self, inference_id: str, format: str = "srt", **options: Any) -> str:
        """Return subtitles: srt, vtt, or json with every word."""
        query = {"format": format, **options}
        return (self.client.request("GET", path_of("/api/v1/inference/{}/subtitles", inference_id), params=query)).text


@dataclass(frozen=True)
class Experiments:
    """Trainings stage by stage."""

    client: Sovitsd

    def create(self, name: str, file_id: str, version: str = "v2", **options: Any) -> Experiment:
        """Make an experiment; nothing runs yet."""
        body = {"exp_name": name, "audio_file_id": file_id, "version": version, **options}
        headers = idempotency_headers()
        return parse_record(Experiment, self.client.json("POST", "/api/v1/experiments", json=body, headers=headers))

    def list(self, limit: int = 50, offset: int = 0) -> Page[Experiment]:
        """Return experiments, newest first."""
        query = {"limit": limit, "offset": offset}
        return parse_page(Experiment, self.client.json("GET", "/api/v1/experiments", params=query))

    def get(self, experiment_id: str) -> Experiment:
        """Return an experiment with its stages in `data`."""
        return parse_record(Experiment, self.client.json("GET", path_of("/api/v1/experiments/{}", experiment_id)))

    def run_stage(self, experiment_id: str, stage: str, **parameters: Any) -> Mapping[str, Any]:
        """Run a stage, once more if it has run before."""
        return self.client.json(
            "POST", path_of("/api/v1/experiments/{}/stages/{}", experiment_id, stage), json=parameters
        )

    def stage(self, experiment_id: str, stage: str) -> Mapping[str, Any]:
        """Return a stage as it is now, with its outputs."""
        return self.client.json("GET", path_of("/api/v1/experiments/{}/stages/{}", experiment_id, stage))

    def watch_stage(self, experiment_id: str, stage: str) -> Iterator[Event]:
        """Yield what happens to a stage until it has ended."""
        return self.client.events(path_of("/api/v1/experiments/{}/stages/{}/progress", experiment_id, stage))
