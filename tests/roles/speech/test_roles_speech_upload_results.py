"""Results on their way to an address: packed, put or posted, tried again or given up."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from core.errors import ForbiddenAddress, PermanentError
from core.jobs.job import Lease, NewJob
from core.jobs.roles import FILES
from core.records import DatasetContents, RecordingRecord, SegmentRecord, upgrade
from core.redis_server import EmbeddedServer
from core.settings import Settings
from core.speech.result_uploads import new_upload_job, upload_job_id
from roles.files import run_file_job
from roles.runtime.file_job import FileJobRun
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices
from roles.speech.upload_results import UploadFailed, UploadRejected, forms_of

SOUND = b"RIFF and so on"


class Receiver:
    """Takes what is sent; `answers` says how, by method."""

    def __init__(self) -> None:
        self.answers = {"PUT": 200, "POST": 200}
        self.heard: list[tuple[str, str, bytes]] = []
        self.headers: list[Message] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.heard.append((self.command, self.path, body))
                receiver.headers.append(self.headers)
                self.send_response(receiver.answers[self.command])
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_PUT

            def log_message(self, *_: Any) -> None:
                """Keep tests quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/put?signature=s"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def services(server: EmbeddedServer, settings: Settings) -> Iterator[WorkerServices]:
    settings = settings.model_copy(update={"fetch_allowed_hosts": ("127.0.0.1",)})
    upgrade(settings.resolved_database_url)
    services = WorkerServices(settings, server.url)
    yield services
    services.close()


def claim(services: WorkerServices) -> Lease:
    lease = services.queue.claim(FILES, f"files-test-1-{services.settings.redis_prefix}")
    assert lease is not None
    return lease


def finish(services: WorkerServices, job_id: str, result: dict[str, Any] | None) -> None:
    """As if a worker had done the job, or failed at it."""
    services.queue.enqueue_many([NewJob(FILES, {}, job_id=job_id)])
    lease = claim(services)
    if result is None:
        services.queue.fail(lease, {"code": "x", "message": "Nothing came of it."}, permanent=True)
    else:
        services.queue.ack(lease, result)


def send(services: WorkerServices, of: str, url: str, token: str = "") -> dict[str, Any]:
    services.queue.enqueue_many([new_upload_job(of, url, token=token, depends_on=(of,))])
    lease = claim(services)
    assert lease.job.id == upload_job_id(of)
    try:
        return run_file_job(FileJobRun(JobContext(lease, services, threading.Event())))
    finally:
        services.queue.release(lease)


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_an_inference_is_sent_as_one_zip(services: WorkerServices, receiver: Receiver) -> None:
    services.storage.put_bytes("inference/infer-1/speech.wav", SOUND)
    finish(services, "infer-1", {"audio": "inference/infer-1/speech.wav"})

    result = send(services, "infer-1", receiver.url)

    [(method, path, content)] = receiver.heard
    assert (method, path) == ("PUT", "/put?signature=s")
    assert unpacked(content) == {"infer-1.wav": SOUND}
    assert result == {"sent": True, "status_code": 200, "size_bytes": len(content)}
    assert not list(services.storage.root.glob(".tmp/*"))


def test_a_token_is_sent_as_a_bearers_and_nothing_without_one(services: WorkerServices, receiver: Receiver) -> None:
    services.storage.put_bytes("inference/infer-1/speech.wav", SOUND)
    finish(services, "infer-1", {"audio": "inference/infer-1/speech.wav"})
    send(services, "infer-1", receiver.url, services.settings.secret_box.encrypt("a secret"))
    services.queue.cancel(upload_job_id("infer-1"))
    finish(services, "infer-2", {"audio": "inference/infer-1/speech.wav"})

    send(services, "infer-2", receiver.url)

    assert [headers["Authorization"] for headers in receiver.headers] == ["Bearer a secret", None]


def test_by_setting_each_file_is_a_form_of_its_own(services: WorkerServices, receiver: Receiver) -> None:
    services.settings = services.settings.model_copy(update={"result_upload_format": "files"})
    services.storage.put_bytes("inference/infer-1/speech.wav", SOUND)
    finish(services, "infer-1", {"audio": "inference/infer-1/speech.wav"})

    result = send(services, "infer-1", receiver.url, services.settings.secret_box.encrypt("a secret"))

    [(method, _, body)], [headers] = receiver.heard, receiver.headers
    form = message_from_bytes(b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body)
    parts = {part.get_param("name", header="content-disposition"): part for part in form.walk() if part is not form}
    assert (method, headers["Authorization"], result["sent"]) == ("POST", "Bearer a secret", True)
    assert {name: part.get_payload(decode=True) for name, part in parts.items()} == {
        "business_tag": b"SATEL_AGENT",
        "file_type": b"",
        "file": SOUND,
    }
    assert parts["file"].get_filename() == "infer-1.wav"


@pytest.mark.parametrize(
    ("name", "tag", "file_type"),
    [
        ("voice.json", "SATEL_AGENT", "cfg_path"),
        ("gpt.safetensors", "SATEL_AGENT_WEIGHT", "weight_path"),
        ("prompts/default.wav", "SATEL_AGENT", ""),
    ],
)
def test_the_files_of_a_voice_are_told_apart(tmp_path: Path, name: str, tag: str, file_type: str) -> None:
    with zipfile.ZipFile(tmp_path / "voice.zip", "w") as archive:
        archive.writestr(name, SOUND)

    [form] = forms_of("task-1", tmp_path / "voice.zip")

    assert (form.filename, form.size_bytes) == (name.rpartition("/")[2], len(SOUND))
    assert form.fields == {"business_tag": tag, "file_type": file_type}


def test_a_batch_is_sent_as_it_is(services: WorkerServices, receiver: Receiver) -> None:
    services.storage.put_bytes("inference/batch-1/batch-1.zip", b"an archive")
    finish(services, "batch-1", {"archive": "inference/batch-1/batch-1.zip"})

    send(services, "batch-1", receiver.url)

    assert receiver.heard[0][2] == b"an archive"


def test_an_address_that_knows_no_put_gets_a_post(services: WorkerServices, receiver: Receiver) -> None:
    receiver.answers["PUT"] = 405
    services.storage.put_bytes("inference/infer-1/speech.wav", SOUND)
    finish(services, "infer-1", {"audio": "inference/infer-1/speech.wav"})

    result = send(services, "infer-1", receiver.url)

    assert [method for method, _, _ in receiver.heard] == ["PUT", "POST"]
    assert receiver.heard[0][2] == receiver.heard[1][2]
    assert result["sent"]


@pytest.mark.parametrize(("status", "error"), [(500, UploadFailed), (429, UploadFailed), (403, UploadRejected)])
def test_an_address_in_trouble_is_tried_again_and_one_that_refuses_is_not(
    services: WorkerServices, receiver: Receiver, status: int, error: type[Exception]
) -> None:
    receiver.answers["PUT"] = status
    services.storage.put_bytes("inference/infer-1/speech.wav", SOUND)
    finish(services, "infer-1", {"audio": "inference/infer-1/speech.wav"})

    with pytest.raises(error, match=str(status)):
        send(services, "infer-1", receiver.url)

    assert issubclass(error, PermanentError) == (status == 403)


def test_an_address_inside_is_never_reached(services: WorkerServices) -> None:
    services.storage.put_bytes("inference/infer-1/speech.wav", SOUND)
    finish(services, "infer-1", {"audio": "inference/infer-1/speech.wav"})

    with pytest.raises(ForbiddenAddress):
        send(services, "infer-1", "http://169.254.169.254/latest")


def test_of_work_that_failed_nothing_is_sent(services: WorkerServices, receiver: Receiver) -> None:
    finish(services, "infer-1", None)

    result = send(services, "infer-1", receiver.url)

    assert result == {"sent": False, "reason": "infer-1 is dead: Nothing came of it."}
    assert receiver.heard == []


def test_a_version_of_a_data_set_is_sent_with_its_transcripts(services: WorkerServices, receiver: Receiver) -> None:
    records = services.records
    services.call(records.datasets.create, "ds-1", "set", "en", "split", {}, 5)
    recording = RecordingRecord(1, "a.wav", None, "0" * 64, 4.0, 16_000, "datasets/ds-1/recordings/1.wav")
    segments = [
        segment_record(1, transcript="Hello.", subset="train"),
        segment_record(2, transcript="Bye.", subset="val", speaker="bob"),
        segment_record(3, left_out=True),
    ]
    for segment in segments:
        services.storage.put_bytes(segment.storage_key, SOUND)
    services.call(records.dataset_versions.finish, "ds-1", 1, DatasetContents([recording], segments), [], "Done.")

    send(services, "ds-1.1", receiver.url)

    files = unpacked(receiver.heard[0][2])
    assert set(files) == {"dataset.json", "transcripts.list", "train/00001.wav", "val/00002.wav"}
    assert files["transcripts.list"].decode().splitlines() == [
        "train/00001.wav|speaker|en|Hello.",
        "val/00002.wav|bob|en|Bye.",
    ]


def segment_record(number: int, **values: Any) -> SegmentRecord:
    return SegmentRecord(
        number=number,
        recording=1,
        name=f"a-{number}",
        start_seconds=0.0,
        seconds=2.0,
        storage_key=f"datasets/ds-1/segments/{number}.wav",
        sha256=str(number) * 64,
        **values,
    )
