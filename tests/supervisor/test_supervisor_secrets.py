"""A daemon with keys, secrets and URLs with credentials: its files are private, and none of them is in its log."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
import pytest
from cryptography.fernet import Fernet

from core.records import upgrade
from core.redis_server import read_embedded_url
from core.settings import REPOSITORY, read_settings

KEY = "sk-valid-0123456789abcdef"
WRONG_KEY = "sk-wrong-0123456789abcdef"
WEBHOOK_SECRET = "whsec_" + "B" * 44
OLD_SECRET = "whsec_" + "A" * 44
SECRETS_KEY = Fernet.generate_key().decode()
PASSWORD = "pass-0123456789abcdef"
TOKEN = "token-0123456789abcdef"
SECRETS = (KEY, WRONG_KEY, WEBHOOK_SECRET, OLD_SECRET, SECRETS_KEY, PASSWORD, TOKEN)
HEADERS = {"Authorization": f"Bearer {KEY}"}

pytestmark = pytest.mark.slow


@dataclass
class Daemon:
    """A daemon that ran, got requests and ended."""

    data: Path
    log: str
    webhook_secret: str
    redis_url: str
    umask_of_children: list[str]


def environment(data: Path, **settings: str) -> dict[str, str]:
    return {
        **os.environ,
        "DATA_PATH": str(data),
        "PORT": "0",
        "LOG_LEVEL": "DEBUG",
        "VALID_API_KEYS": KEY,
        "WEBHOOK_SECRET": WEBHOOK_SECRET,
        "SECRETS_KEY": SECRETS_KEY,
        "REDIS_URL": "",
        "DATABASE_URL": "",
        "HF_ENDPOINT": f"https://user:{PASSWORD}@mirror.invalid",
        **settings,
    }


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    """Run a daemon over a folder of an earlier version: open to all, and with a secret as plaintext."""
    folder = tmp_path_factory.mktemp("secrets")
    data = folder / "data"
    data.mkdir()
    upgrade(read_settings(data_path=data, database_url="").resolved_database_url)
    with sqlite3.connect(data / "sovitsd.sqlite3") as records:
        records.execute(
            "INSERT INTO webhooks (id, url, events, description, secret, enabled, message, created_at) "
            "VALUES ('wh-1', 'http://hooks.invalid/', '[]', '', ?, 1, '', 0)",
            (OLD_SECRET,),
        )
    data.chmod(0o755)
    log = folder / "log"
    with log.open("wb") as output:
        command = [sys.executable, "main.py", "serve", "--roles", "splitter"]
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment(data), stdout=output, stderr=output, umask=0o022
        )
    try:
        announcement = data / "run" / "api.json"
        deadline, pause = time.monotonic() + 60, threading.Event()
        while not announcement.exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            pause.wait(0.02)
        webhook_secret = request_everything(orjson.loads(announcement.read_bytes())["url"])
        redis_url = read_embedded_url(data / "redis") or ""
        masks = [umask_of(pid) for pid in children_of(process.pid)]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    return Daemon(data, log.read_text(), webhook_secret, redis_url, masks)


def request_everything(url: str) -> str:
    """Send secrets wherever a request may hold one; return the secret of a new webhook."""
    with_credentials = f"http://user:{PASSWORD}@127.0.0.1:9/{TOKEN}?token={TOKEN}"
    with httpx.Client(base_url=url, timeout=30) as client:
        for headers in ({"X-API-Key": WRONG_KEY}, {"Authorization": f"Bearer {WRONG_KEY}"}):
            assert client.get("/api/v1/files", headers=headers).status_code == 401
        assert client.post("/synthesize", json={"apikey": WRONG_KEY, "target": "x"}).status_code == 401
        for target in (with_credentials, f"https://hooks.invalid/{TOKEN}?token={TOKEN}"):
            for path, body in (
                ("/synthesize", {"apikey": KEY, "target": "Hi.", "voice_url": target, "voice_prompt_text": "Hi."}),
                ("/api/v1/voices/bob/speech", {"text": target}),
                ("/api/v1/webhooks", {"url": target, "secret": WEBHOOK_SECRET}),
                ("/api/v1/tasks", {"exp_name": "a", "audio_file_id": "x", "webhook_url": target}),
            ):
                client.post(path, json=body, headers=HEADERS)
        client.get(f"/api/v1/nowhere?api_key={KEY}&token={TOKEN}", headers=HEADERS)
        created = client.post("/api/v1/webhooks", json={"url": f"https://example.com/{TOKEN}"}, headers=HEADERS)
        assert created.status_code in (201, 400), created.text
        return str(created.json().get("secret", ""))


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def umask_of(pid: int) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("Umask:"))


def test_no_secret_is_in_the_log(daemon: Daemon):
    secrets = [*SECRETS, daemon.webhook_secret, daemon.redis_url.partition("@")[0].rpartition(":")[2]]

    assert "The API listens on" in daemon.log
    assert "Stopped." in daemon.log
    for secret in filter(None, secrets):
        assert secret not in daemon.log


def test_everything_in_the_data_folder_is_private_to_its_owner(daemon: Daemon):
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in (daemon.data, *daemon.data.rglob("*"))}

    assert len(modes) > 10
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}


def test_an_open_folder_is_mentioned_once(daemon: Daemon):
    assert daemon.log.count("could be read by other users of this host") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_all_processes_create_private_files(daemon: Daemon):
    assert len(daemon.umask_of_children) >= 3, "the queue server, the API, a worker"
    assert set(daemon.umask_of_children) == {"0077"}


def test_secrets_of_webhooks_are_nowhere_in_the_data_folder(daemon: Daemon):
    contents = {path: path.read_bytes() for path in daemon.data.rglob("*") if path.is_file()}

    assert "Encrypted the secrets of 1 webhooks." in daemon.log
    for secret in filter(None, (OLD_SECRET, WEBHOOK_SECRET, SECRETS_KEY, KEY, WRONG_KEY, daemon.webhook_secret)):
        assert [path for path, content in contents.items() if secret.encode() in content] == []


@pytest.mark.parametrize(
    "setting",
    [
        {"REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:1/0"},
        {"REDIS_URL": f"nonsense://:{PASSWORD}@127.0.0.1:1/0"},
        {"REDIS_URL": f"redis://:x@host:{PASSWORD}/0"},
        {"DATABASE_URL": f"postgresql://user:{PASSWORD}@127.0.0.1:1/records"},
        {"DATABASE_URL": f"nonsense://user:{PASSWORD}@host/records"},
        {"DATABASE_URL": f"user:{PASSWORD}@host"},
        {"STORAGE_URL": f"nonsense://user:{PASSWORD}@host"},
        {"SECRETS_KEY": PASSWORD},
        {"WEBHOOK_SECRET": f"whsec_{PASSWORD}"},
        {"HF_ENDPOINT": f"ftp://user:{PASSWORD}@host"},
    ],
    ids=lambda setting: "-".join(setting),
)
def test_a_setting_with_a_password_that_cannot_be_used_is_not_repeated(setting: dict[str, str], tmp_path: Path):
    completed = subprocess.run(
        [sys.executable, "main.py", "queue", "list"] if "REDIS_URL" in setting else [sys.executable, "main.py", "api"],
        cwd=REPOSITORY,
        env=environment(tmp_path, **setting),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert completed.returncode in (1, 2)
    assert PASSWORD not in completed.stderr + completed.stdout
    assert "Traceback" not in completed.stderr
