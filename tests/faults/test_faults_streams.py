"""What a stream of speech survives: real processes, the bundled voice, kill -9, SIGTERM, clients that do not read."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import orjson
import pytest
from daemon_stage import Stage, until
from speaking_daemon import SENTENCES, Listener, SpeakingDaemon

from core.jobs.job import JobStatus

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kills children by their pids"),
]

TEXT = " ".join(SENTENCES)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpeakingDaemon]:
    stage = Stage()
    daemon = SpeakingDaemon(tmp_path_factory.mktemp("speaking") / "data", stage)
    daemon.speak_up(SPEECH_CACHE_MB="0")  # every utterance is synthesized
    yield daemon
    daemon.close()
    stage.close()


@pytest.fixture(scope="module")
def whole(daemon: SpeakingDaemon) -> bytes:
    """Return what a client hears that nothing happens to."""
    return daemon.speech(TEXT)


def test_a_synthesizer_has_spoken_before_it_is_ready(daemon: SpeakingDaemon):
    assert daemon.wait_for(r"Warmed up in") < daemon.wait_for(r"synthesizer-\S+ is ready on cpu")


def test_a_worker_killed_in_the_middle_of_a_stream_changes_no_byte(daemon: SpeakingDaemon, whole: bytes):
    for share in (0.0, 0.3, 0.7):
        listener = Listener(daemon, TEXT)
        until(partial(listener.has, round(share * len(whole))))
        daemon.kill_worker("synthesizer")

        assert listener.finished() == whole


def test_streams_at_the_same_time_have_the_bytes_that_each_has_alone(daemon: SpeakingDaemon):
    alone = [daemon.speech(sentence, seed=number) for number, sentence in enumerate(SENTENCES[:4])]

    listeners = [Listener(daemon, SENTENCES[number % 4], seed=number % 4) for number in range(16)]

    assert [listener.finished() for listener in listeners] == [alone[number % 4] for number in range(16)]


def test_a_client_that_reads_nothing_stops_the_synthesis_and_one_that_leaves_ends_it(daemon: SpeakingDaemon):
    text = " ".join(f"{sentence} {number}." for number in range(6) for sentence in SENTENCES)[:4096]
    body = orjson.dumps(daemon.request(text))
    host, port = daemon.url.removeprefix("http://").split(":")
    before = daemon.queue.counters()["submitted"]
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((host, int(port)))
        client.sendall(
            b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        client.recv(1)
        unchanged = 0
        submitted = 0

        def is_still() -> bool:
            nonlocal unchanged, submitted
            depths, now = daemon.queue.depths(), daemon.queue.counters()["submitted"] - before
            still = now == submitted and depths["processing"] == 0 and depths["synthesizer"] == 0
            unchanged, submitted = unchanged + 1 if still else 0, now
            return unchanged > 50

        until(is_still, 60, "the synthesis to wait for its listener")
        assert submitted < 40  # of about 60
        streams = list(daemon.redis.scan_iter("sovits:audio:*"))
        assert sum(daemon.redis.memory_usage(key) for key in streams) < 4 << 20

    until(lambda: daemon.queue.counters()["submitted"] - before == submitted)
    assert daemon.queue.depths()["synthesizer"] == 0


def test_a_client_that_leaves_stops_its_utterance(daemon: SpeakingDaemon):
    with httpx.stream("POST", f"{daemon.url}/v1/audio/speech", json=daemon.request(TEXT), timeout=60) as response:
        next(response.iter_raw())

    until(lambda: daemon.queue.depths()["processing"] == 0, 5)
    assert daemon.queue.depths()["synthesizer"] == 0


def test_a_drain_lets_a_stream_finish_and_rejects_what_is_new(tmp_path: Path):
    stage = Stage()
    daemon = SpeakingDaemon(tmp_path / "data", stage)
    daemon.speak_up(SYNTHESIS_SLOTS="1", SPEECH_CACHE_MB="0")
    whole = daemon.speech(TEXT)  # of this daemon: its watermark has a key of its own
    listener = Listener(daemon, TEXT)
    listener.began.wait(60)

    os.kill(daemon.pid, signal.SIGTERM)
    daemon.wait_for("Draining")
    rejected = until(lambda: _rejection(daemon), 5, "a rejection")

    assert rejected.status_code == 503
    assert int(rejected.headers["retry-after"]) > 0
    assert listener.finished() == whole
    assert daemon.wait() == 0
    daemon.speak_up()
    assert daemon.queue.depths()["synthesizer"] == 0
    assert daemon.speech(SENTENCES[0])
    daemon.close()
    stage.close()


def _rejection(daemon: SpeakingDaemon) -> httpx.Response | None:
    response = daemon.client.post(f"{daemon.url}/v1/audio/speech", json=daemon.request("Hello."))
    return response if response.status_code != 200 else None


def test_a_worker_that_slept_past_its_lease_overwrites_no_file(tmp_path: Path):
    stage = Stage()
    daemon = SpeakingDaemon(tmp_path / "data", stage)
    daemon.speak_up(LEASE_SECONDS="1")
    created = daemon.client.post(
        f"{daemon.url}/api/v1/inference", json={"text": TEXT, "voice": "allison", "language": "en", "seed": 1}
    ).json()
    until(lambda: any(worker.job and worker.role == "synthesizer" for worker in daemon.queue.workers()))
    sleeper = daemon.worker_pid("synthesizer")
    os.kill(sleeper, signal.SIGSTOP)
    with daemon.second_worker("synthesizer"):
        job = daemon.wait_for_end(created["id"])
    assert job.status is JobStatus.DONE
    files = {path: path.read_bytes() for path in daemon.stored_audio(created["id"])}
    assert len(files) > 1
    os.kill(sleeper, signal.SIGCONT)
    daemon.wait_for("has the job now|lease on the job .* was lost|Gave the job up")
    until(lambda: not any(worker.job for worker in daemon.queue.workers()))

    assert {path: path.read_bytes() for path in files} == files
    daemon.close()
    stage.close()
