"""The CosyVoice service as its operators run it: its settings, its own Redis, and redis-cli as they call it."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from wav_chunks import samples_of

from core.jobs.job import NewJob
from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions
from core.jobs.roles import SYNTHESIZER
from core.redis import connect
from core.redis_server import EmbeddedServer, read_embedded_url
from GPT_SoVITS.audio import write_wav
from scripts.demo_daemon import Daemon

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed"),
]
PREFIX = "cosyvoice:"
KEY = "key1"
LISTS = ("splitter_tasks", "worker_tasks", "dead_letter_queue")


@dataclass
class Installation:
    """A daemon with the service's settings and a Redis of its own."""

    daemon: Daemon
    redis_url: str
    static: Path

    def synthesize(self, **more: object) -> httpx.Response:
        body = {"apikey": KEY, "target": "Good morning. How are you?", "voice": "announcer_male", **more}
        return httpx.post(f"{self.daemon.url}/synthesize", json=body, timeout=90)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("cosyvoice")
    write_wav(folder / "announcer.wav", 0.3 * np.sin(np.arange(80_000) / 20).astype(np.float32), 16_000)
    prompts = [
        {"name": "announcer_male", "path": str(folder / "announcer.wav"), "text": "Good evening, everyone."},
        {"name": "announcer_female", "path": str(folder / "missing.wav"), "text": "希望你以后能够做的比我还好呦。"},
    ]
    redis = EmbeddedServer(folder / "redis")
    redis.start()
    settings = {
        "REDIS_URL": redis.url,
        "REDIS_PREFIX": PREFIX,
        "VALID_API_KEYS": json.dumps(["admin", KEY, "key2"]),
        "PROMPTS_CONFIG": json.dumps(prompts),
        "NUM_MODELS": "1",
        "GPU_MEMORY_PER_MODEL_MB": "5000",
        "RESULT_EXPIRY_SECONDS": "3600",
        "COSYVOICE_SAMPLE_RATE": "22050",
        "STATIC_DIR": str(folder / "static" / "audio"),
    }
    try:
        with Daemon(folder / "data", folder / "daemon.log", settings) as daemon:
            yield Installation(daemon, redis.url, folder / "static" / "audio")
    finally:
        redis.stop()


def redis_cli(url: str, *arguments: str) -> str:
    """Run Debian's client and return what it prints; a failure, which it prints, too, fails the test."""
    command = ["redis-cli", "--no-auth-warning", "-u", url, *arguments]
    completed = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert "ERR" not in completed.stdout
    assert "NOAUTH" not in completed.stdout
    assert not completed.stderr
    return completed.stdout.strip()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path)
    server.start()
    yield server
    server.stop()


def test_the_lines_of_the_documents_work_as_they_stand(server: EmbeddedServer):
    """On a server without other workers, so that the job stays where it is looked for."""
    url = server.url
    with connect(url) as redis:
        queue = Queue(redis, QueueOptions(prefix=PREFIX))
        queue.register_worker("worker-0", SYNTHESIZER, "test", 1)
        queue.enqueue(NewJob(SYNTHESIZER, {"text": "Never to be spoken."}, job_id="speech-x", priority=10))
        lease = queue.claim(SYNTHESIZER, "worker-0")
        assert lease is not None
        held = redis_cli(url, "LRANGE", f"{PREFIX}processing:worker-0", "0", "-1")
        lists = redis_cli(url, "KEYS", f"{PREFIX}processing:*").splitlines()
        length = redis_cli(url, "LLEN", f"{PREFIX}processing:worker-0")
        queue.fail(lease, {"code": "internal_error", "message": "Out of luck.", "hint": ""}, permanent=True)
        queue.forget_worker("worker-0")

    newest = json.loads(redis_cli(url, "LINDEX", f"{PREFIX}dead_letter_queue", "0"))

    assert (held, length) == (lease.job.id, "1")
    assert f"{PREFIX}processing:worker-0" in lists
    assert redis_cli(url, "LLEN", f"{PREFIX}splitter_tasks") == "0"
    assert redis_cli(url, "LLEN", f"{PREFIX}worker_tasks") == "0"
    assert redis_cli(url, "LLEN", f"{PREFIX}dead_letter_queue") == "1"
    assert len(redis_cli(url, "LRANGE", f"{PREFIX}dead_letter_queue", "0", "-1").splitlines()) == 1
    assert redis_cli(url, "TYPE", f"{PREFIX}dead_letter_queue") == "list"
    assert "Never to be spoken." in json.dumps(newest)
    assert "Out of luck." in json.dumps(newest)


def test_the_keys_of_the_array_are_keys_without_brackets(installation: Installation):
    voices = httpx.get(f"{installation.daemon.url}/voices").json()
    statuses = {
        key: installation.synthesize(apikey=key, target="Hello.").status_code
        for key in ("admin", "key2", '"key1"', '["admin"', "")
    }

    assert voices == ["announcer_male"]
    assert statuses == {"admin": 200, "key2": 200, '"key1"': 401, '["admin"': 401, "": 401}


def test_recordings_come_at_the_rate_of_the_setting_and_lie_in_the_static_folder(installation: Installation):
    response = installation.synthesize()
    content = httpx.get(response.json()["download_url"]).content

    with wave.open(io.BytesIO(content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (22_050, 1, 2)
        assert len(samples_of(content)) == 2 * file.getnframes()
        assert file.getnframes() > 22_050
    filename = response.json()["download_url"].rpartition("/")[2]
    assert (installation.static / filename).read_bytes() == content


def test_keys_come_first_then_fields(installation: Installation):
    unknown_voice = installation.synthesize(voice="nobody")
    wrong_key = installation.synthesize(apikey="wrong", voice="nobody", target="")

    assert (unknown_voice.status_code, wrong_key.status_code) == (400, 401)
    assert isinstance(unknown_voice.json()["detail"], str)


def test_the_log_says_what_operators_look_for(installation: Installation):
    log = installation.daemon.log.read_text()

    assert "Starting Splitter..." in log
    assert "Starting Worker-" in log
    (warning,) = [line for line in log.splitlines() if "announcer_female" in line]
    assert "[WARNING]" in warning
    assert "missing.wav" in warning


def test_the_lists_of_a_running_daemon_are_read_the_same_way(installation: Installation):
    lists = {name: redis_cli(installation.redis_url, "LLEN", PREFIX + name) for name in LISTS}

    assert lists == dict.fromkeys(LISTS, "0")


def test_the_url_of_the_embedded_server_is_what_redis_cli_takes(server: EmbeddedServer):
    url = read_embedded_url(server.folder)

    assert url.startswith("redis://default:")
    assert redis_cli(url, "PING") == "PONG"
    assert redis_cli(url, "LLEN", "sovits:worker_tasks") == "0"


def test_a_url_without_a_user_gets_one_when_the_server_starts_again(server: EmbeddedServer):
    server.url = server.url.replace("default:", ":")
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    server.start()

    assert redis_cli(read_embedded_url(server.folder), "PING") == "PONG"
