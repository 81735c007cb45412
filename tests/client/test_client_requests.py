"""The Python client's errors, retries and event streams, against servers on sockets that answer as they are told."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sovitsd_client
from sovitsd_client import (
    ApiError,
    AsyncSovitsd,
    ConnectionFailedError,
    NotFoundError,
    NotReadyError,
    QuotaExceededError,
    ServerError,
    Sovitsd,
    SovitsdError,
    VoiceNotFoundError,
    WaitTimeoutError,
)
from sovitsd_client.errors import CODES

import core.errors
from scripts.write_sync_client import FOLDER, sync_client

Answer = tuple[int, dict[str, str], Any]
TASK = {"id": "task-1", "exp_name": "a", "status": "running", "progress": 0.5, "overall_progress": 0.25}
CREATED = {**TASK, "status": "queued"}


class Server:
    """Gives the answers of a list one after the other, the last one for ever, and keeps the requests."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                owner.requests.append((self.command, self.path, dict(self.headers), body))
                status, headers, content = owner.answers.pop(0) if len(owner.answers) > 1 else owner.answers[0]
                if status == 0:  # the connection breaks
                    self.close_connection = True
                    return
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
                self.close_connection = headers.get("Content-Length") is not None

            do_GET = do_POST = do_DELETE = respond

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def headers(self, name: str) -> list[str | None]:
        return [headers.get(name) for _, _, headers, _ in self.requests]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def error(code: str, status: int, **headers: str) -> Answer:
    return status, headers, {"error": {"code": code, "message": "It is so.", "hint": "Do that.", "details": {"n": 1}}}


def test_every_code_of_the_server_has_a_class():
    codes = {
        kind.code
        for kind in vars(core.errors).values()
        if isinstance(kind, type) and issubclass(kind, core.errors.SovitsError) and kind.status
    }

    internal = {"internal", "lease_lost", "error", "internal_error"}
    assert sorted(codes - set(CODES) - internal) == []
    assert all(issubclass(kind, ApiError) for kind in CODES.values())
    assert set(sovitsd_client.__all__) >= {kind.__name__ for kind in CODES.values()}


def test_an_error_has_what_the_server_said(server):
    server.answers = [error("voice_not_found", 404, **{"X-Request-ID": "req-7"})]

    with Sovitsd(server.url) as client, pytest.raises(VoiceNotFoundError) as caught:
        client.voices.get("nobody/at all")

    failure = caught.value
    assert isinstance(failure, NotFoundError | SovitsdError)
    assert (failure.code, failure.status, failure.message, failure.hint) == (
        "voice_not_found",
        404,
        "It is so.",
        "Do that.",
    )
    assert (failure.request_id, failure.details, str(failure)) == ("req-7", {"n": 1}, "It is so. Do that.")
    assert server.requests[0][1] == "/api/v1/voices/nobody%2Fat%20all"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((418, {}, {"error": {"code": "new", "message": "No."}}), ApiError, "No."),
        ((404, {}, {"detail": "Task not found"}), NotFoundError, "Task not found"),
        ((400, {}, {"code": 400, "msg": "bad", "data": {}}), ApiError, "bad"),
        ((502, {}, b"<html>proxy</html>"), ServerError, "<html>proxy</html>"),
        ((422, {}, {"detail": [{"loc": ["body"], "msg": "no"}]}), ApiError, '[{"loc": ["body"], "msg": "no"}]'),
    ],
)
def test_errors_of_other_formats_and_of_proxies_are_read(server, answer, kind, message):
    server.answers = [answer]

    with Sovitsd(server.url, max_retries=0) as client, pytest.raises(kind) as caught:
        client.tasks.get("x")

    assert caught.value.message == message


def test_what_the_server_warns_of_is_logged(server, caplog):
    server.answers = [(200, {"X-Warning": 'language_not_spoken; text="ja"; voice="zh, en"'}, TASK)]

    with Sovitsd(server.url) as client:
        client.tasks.get("task-1")

    assert caplog.messages == ['language_not_spoken; text="ja"; voice="zh, en"']


def test_what_was_rejected_for_now_is_asked_for_again_after_the_time_that_the_server_names(server):
    server.answers = [error("queue_unavailable", 503, **{"Retry-After": "1"}), (200, {}, TASK)]
    started = time.monotonic()

    with Sovitsd(server.url) as client:
        task = client.tasks.get("task-1")

    assert (task.id, task.status, task.overall_progress) == ("task-1", "running", 0.25)
    assert time.monotonic() - started >= 1
    assert len(server.requests) == 2


def test_a_pause_that_is_too_long_and_a_number_of_retries_are_limits(server):
    server.answers = [error("quota_exceeded", 429, **{"Retry-After": "3600"})]
    with Sovitsd(server.url) as client, pytest.raises(QuotaExceededError) as caught:
        client.tasks.get("task-1")
    assert caught.value.retry_after == 3600
    assert len(server.requests) == 1

    server.requests.clear()
    server.answers = [error("not_ready", 503, **{"Retry-After": "0"})]
    with Sovitsd(server.url, max_retries=3) as client, pytest.raises(NotReadyError):
        client.tasks.get("task-1")
    assert len(server.requests) == 4


def test_a_task_is_created_once_although_the_connection_broke(server):
    server.answers = [(0, {}, b""), (201, {}, CREATED)]

    with Sovitsd(server.url, "secret") as client:
        task = client.tasks.create("a", "file-1", quality="fast")

    first, second = server.headers("Idempotency-Key")
    assert task.status == "queued"
    assert first
    assert first == second
    assert server.headers("Authorization") == ["Bearer secret", "Bearer secret"]
    assert json.loads(server.requests[0][3]) == {
        "exp_name": "a",
        "audio_file_id": "file-1",
        "options": {"quality": "fast"},
    }


def test_what_could_happen_twice_is_not_sent_again(server):
    server.answers = [(0, {}, b""), (200, {}, b"sound")]

    with Sovitsd(server.url) as client, pytest.raises(ConnectionFailedError, match="does not answer"):
        client.speech.create("Hello.", "anna")

    assert len(server.requests) == 1


def test_a_server_that_is_not_there_and_an_address_that_is_none_are_told():
    with Sovitsd("http://127.0.0.1:9", max_retries=0) as client, pytest.raises(ConnectionFailedError, match="running"):
        client.info()
    with pytest.raises(SovitsdError, match=r"voice\.example is no address of a server"):
        Sovitsd("voice.example")


def test_the_environment_names_the_server_and_the_key(server, monkeypatch):
    monkeypatch.setenv("SOVITSD_URL", server.url + "/")
    monkeypatch.setenv("SOVITSD_API_KEY", "from-there")
    server.answers = [(200, {}, {"app_name": "x"})]

    with Sovitsd() as client:
        assert client.info() == {"app_name": "x"}

    assert server.headers("Authorization") == ["Bearer from-there"]
    assert "from-there" not in repr(client.__dict__)


BROKEN_STREAM = (
    b'id: 1-1\nevent: progress\ndata: {"stage": "asr",\ndata: "progress": 0.5}\n\n: comment\n\nid: 2-1\nevent: log\n'
)
REST = b'id: 2-1\nevent: log\ndata: not JSON\n\nid: 3-1\nevent: completed\ndata: {"status": "completed"}\n\n'


def stream_answers() -> list[Answer]:
    headers = {"Content-Type": "text/event-stream"}
    return [(200, {**headers, "Content-Length": "9999"}, BROKEN_STREAM), (200, headers, REST)]


def test_events_go_on_behind_the_last_one_when_the_connection_breaks(server):
    server.answers = stream_answers()

    with Sovitsd(server.url) as client:
        events = list(client.tasks.watch("task-1"))

    assert [(event.id, event.name, dict(event.data)) for event in events] == [
        ("1-1", "progress", {"stage": "asr", "progress": 0.5}),
        ("2-1", "log", {"message": "not JSON"}),
        ("3-1", "completed", {"status": "completed"}),
    ]
    assert server.headers("Last-Event-ID") == [None, "1-1"]


async def test_the_client_for_asyncio_does_the_same(server):
    server.answers = [*stream_answers(), (503, {"Retry-After": "0"}, {}), (200, {}, {**TASK, "status": "completed"})]

    async with AsyncSovitsd(server.url) as client:
        events = [event async for event in client.tasks.watch("task-1")]
        task = await client.tasks.wait("task-1", timeout=60)
        server.answers = [(200, {"X-Sample-Rate": "16000"}, b"sound")]
        async with client.speech.stream("Hello.", "anna", format="pcm") as audio:
            chunks = b"".join([chunk async for chunk in audio])
        server.answers = [(200, {}, TASK)]
        with pytest.raises(WaitTimeoutError, match="task-1 is running after 0 s"):
            await client.tasks.wait("task-1", timeout=0)
        listed = asyncio.gather(client.tasks.get("task-1"), client.tasks.get("task-1"))
        both = await listed

    assert [event.name for event in events] == ["progress", "log", "completed"]
    assert task.ended
    assert (chunks, audio.sample_rate) == (b"sound", 16000)
    assert both[0] == both[1]


def test_the_client_without_asyncio_is_made_of_the_one_with_it(ruff_format: Callable[[str], str]):
    source = (FOLDER / "async_client.py").read_text()

    assert ruff_format(sync_client(source)) == (FOLDER / "sync_client.py").read_text()


@pytest.fixture
def ruff_format(tmp_path: Path) -> Callable[[str], str]:
    def run(text: str) -> str:
        import subprocess
        import sys

        path = tmp_path / "client.py"
        path.write_text(text)
        command = [sys.executable, "-m", "ruff", "format", "--line-length", "120", "--isolated", str(path)]
        subprocess.run(command, check=True, capture_output=True)
        return path.read_text()

    return run


def test_an_address_of_the_server_is_followed_and_no_other(server: Server) -> None:
    server.answers = [(200, {}, b"audio")]
    with Sovitsd(server.url, "sk-secret") as client:
        content = client.request("GET", f"{server.url}/audio/a.wav").content
        with pytest.raises(SovitsdError, match="no address of"):
            client.request("GET", "http://127.0.0.1:1/audio/a.wav")

    assert content == b"audio"
    assert [path for _, path, _, _ in server.requests] == ["/audio/a.wav"]
