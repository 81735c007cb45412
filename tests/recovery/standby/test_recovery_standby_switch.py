"""A switch between two whole services: what was acknowledged is there, and of two that live one writes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from backup_sites import REPOSITORY, start_main
from daemon_stage import until

from benchmarks.chaos.fault_proxy import FaultProxy
from core.settings import Settings, read_settings
from recovery.backup.catalog import BackupCatalog
from recovery.backup.local_state import LocalState
from recovery.backup.open_target import open_target
from recovery.backup.signatures import BackupSigner
from recovery.standby.audit_chain import AuditChain
from recovery.standby.epochs import Epochs
from recovery.standby.local_service import LocalService
from recovery.standby.site import SiteIdentity, StandbyFolder, SwitchState

LONG = 200.0
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    hosts, port = tmp_path / "hosts", free_port()
    return {
        "BACKUP_URL": str(tmp_path / "target"),
        "BACKUP_PUBLIC_KEYS": ",".join(BackupSigner(tmp_path / name).public_key for name in ("main", "standby")),
        "MARK_KEY": "the same on both",
        "MARK_METADATA": "off",
        "BACKUP_SCHEDULE": "",
        "BACKUP_EVERY_SECONDS": "0.5",
        "FENCING": "on",
        "FENCING_LEASE_SECONDS": "3",
        "FENCING_RENEW_SECONDS": "0.5",
        "PORT": str(port),
        "STANDBY_MAIN_COMMAND": f"env DATA_PATH={tmp_path}/main PORT={port} {sys.executable} {REPOSITORY}/main.py",
        "STANDBY_TRAFFIC_COMMAND": f"sh -c 'echo $SOVITSD_SHARE >> {tmp_path}/shares'",
        "NUM_PREPROCESSORS": "1",
        "STANDBY_DNS_COMMAND": f"sh -c 'echo $SOVITSD_ADDRESS $SOVITSD_NAME >> {hosts}'",
        "STANDBY_DNS_NAME": "localhost",
        "STANDBY_DNS_TTL": "1",
        "STANDBY_ADDRESS": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
    }


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def settings_of(folder: Path, environment: dict[str, str]) -> Settings:
    return read_settings(data_path=folder, backup_url=environment["BACKUP_URL"])


@pytest.fixture
def main_site(tmp_path: Path, environment: dict[str, str]) -> Iterator[Settings]:
    """Yield the settings of a service that runs and has a backup."""
    folder = tmp_path / "main"
    with (tmp_path / "main.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "main.py"), "serve", "--roles", "synthesizer"],
            env={**os.environ, **environment, "DATA_PATH": str(folder)},
            stdout=log,
            stderr=log,
        )
    settings = settings_of(folder, environment)
    try:
        LocalService(settings).url()
        backup = start_main("backup", "now", "--without-speech", DATA_PATH=str(folder), **environment)
        output, errors = backup.communicate(timeout=LONG)
        assert backup.returncode == 0, output + errors
        yield settings
    finally:
        process.terminate()  # unless a return has ended it
        process.wait(LONG)


def upload(url: str, name: str) -> httpx.Response:
    files = {"file": (f"{name}.txt", name.encode(), "text/plain")}
    return httpx.post(f"{url}/api/v1/files", files=files, timeout=60)


def file_names(url: str) -> set[str]:
    items = httpx.get(f"{url}/api/v1/files", timeout=60).json()["items"]
    return {item["filename"] for item in items}


def test_a_switch_and_a_return_lose_nothing_that_was_sent_and_only_one_site_writes(
    main_site: Settings, tmp_path: Path, environment: dict[str, str]
):
    old_url = LocalService(main_site).url()
    assert upload(old_url, "before").status_code in (200, 201)
    sent_before = LocalState.of(main_site).status().shipped_at
    until(lambda: LocalState.of(main_site).status().shipped_at > sent_before + 1, LONG, "two more batches")
    standby = settings_of(tmp_path / "standby", environment)
    there = {**environment, "DATA_PATH": str(standby.data_path), "PORT": "0"}
    unconfirmed = start_main("standby", "switch", **there)
    assert "--confirm" in unconfirmed.communicate(timeout=LONG)[1]

    try:
        switch = run("standby", "switch", "--confirm", "--json", **there)
        new_url = LocalService(standby).url()

        assert json.loads(switch.splitlines()[-1])["switched"]
        assert "before.txt" in file_names(new_url)
        rejected = upload(old_url, "too-late")
        assert rejected.status_code == 503
        assert rejected.json()["error"]["code"] == "not_primary"
        assert "too-late.txt" not in file_names(old_url)  # it still reads
        assert httpx.get(f"{old_url}/readyz", timeout=60).json()["checks"]["primary"].startswith("not_ready")
        assert upload(new_url, "after").status_code in (200, 201)
        assert (tmp_path / "hosts").read_text() == "127.0.0.1 localhost\n"
        state = StandbyFolder(standby.data_path).read(SwitchState)
        assert state is not None
        assert state.epoch == 2
        assert "switch: speak" in [entry.action for entry in AuditChain(standby.data_path).entries()]

        run("standby", "return", "--to", old_url, "--json", **there)

        assert {"before.txt", "after.txt"} <= file_names(old_url)
        assert upload(old_url, "at-home").status_code in (200, 201)
        assert not LocalService(standby).is_running()
        assert (tmp_path / "shares").read_text().split() == ["10", "50", "100"]
        newest = Epochs(open_target(environment["BACKUP_URL"])).newest()
        assert newest is not None
        assert (newest.number, newest.site) == (3, SiteIdentity.of(main_site.data_path).site)
        at_home = time.time()
        until(lambda: LocalState.of(main_site).status().shipped_at > at_home, LONG, "changes behind a new backup")
        catalog = BackupCatalog(open_target(environment["BACKUP_URL"]), BackupSigner.of(main_site))
        newest_backup = catalog.read(catalog.resolve("latest"))
        assert newest_backup.epoch == 3
        assert {release.name for release in newest_backup.releases}
    finally:
        LocalService(standby).stop()
        LocalService(main_site).stop()


def test_a_warm_standby_follows_and_takes_over_by_itself_and_never_writes_beside_a_main_site_that_lives(
    main_site: Settings, tmp_path: Path, environment: dict[str, str]
):
    main_url = LocalService(main_site).url()
    standby = settings_of(tmp_path / "standby", environment)
    there = {
        **environment,
        "DATA_PATH": str(standby.data_path),
        "PORT": "0",
        "STANDBY_PROBE_SECONDS": "0.5",
        "STANDBY_SPEECH_PROBE_SECONDS": "0",
        "STANDBY_PREFETCH_SECONDS": "0.5",
        "STANDBY_DRILL_DAYS": "0",
    }
    try:
        run("standby", "warm", "--json", **there)
        warm_url = LocalService(standby).url()
        assert upload(main_url, "before").status_code in (200, 201)
        with FaultProxy.to(main_url) as network, Uploads(main_url, "main") as there_written:
            watch = start_main("standby", "watch", "--main", network.through(main_url), "--automatic", **there)
            until(lambda: "before.txt" in file_names(warm_url), LONG, "the records to follow")
            with Uploads(warm_url, "standby") as here_written:
                until(lambda: here_written.rejected, LONG, "a write to the standby to be rejected")
                assert here_written.acknowledged == []
                network.disconnect()  # the main site lives, and nobody who watches it can see that
                until(lambda: here_written.acknowledged, LONG * 2, "the standby to take over")
                output, errors = watch.communicate(timeout=LONG)

        assert watch.returncode == 0, output + errors
        assert set(here_written.rejected) | set(there_written.rejected) == {"not_primary"}
        assert there_written.acknowledged
        written_there = written_at(main_url, "main")
        written_here = written_at(warm_url, "standby")
        assert set(there_written.acknowledged) <= set(written_there)
        assert set(here_written.acknowledged) <= set(written_here)
        assert max(written_there.values()) < min(written_here.values())
        brought_over = written_at(warm_url, "main")
        recovery_point = max(written_there.values()) - 10
        assert {name for name, at in written_there.items() if at < recovery_point} <= set(brought_over)
        state = StandbyFolder(standby.data_path).read(SwitchState)
        assert state is not None
        assert state.finished_at
        again = start_main("standby", "switch", "--confirm", **there)
        assert "is the primary one already" in again.communicate(timeout=LONG)[1]
    finally:
        LocalService(standby).stop()


class Uploads:
    """A client that uploads one file after the other to a site."""

    def __init__(self, url: str, name: str) -> None:
        self.acknowledged: list[str] = []
        self.rejected: list[str] = []
        """The codes."""
        self._url, self._name = url, name
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Uploads:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._ended.wait(0.1):
            name = f"{self._name}-{number}"
            response = upload(self._url, name)
            if response.status_code in (200, 201):
                self.acknowledged.append(f"{name}.txt")
            else:
                assert "retry-after" in response.headers
                self.rejected.append(response.json()["error"]["code"])
            number += 1


def written_at(url: str, prefix: str) -> dict[str, float]:
    """Return when a site wrote each file of a client, by the clock of this host."""
    times: dict[str, float] = {}
    cursor = ""
    while True:
        page = httpx.get(f"{url}/api/v1/files", params={"limit": 100, "cursor": cursor}, timeout=60).json()
        for item in page["items"]:
            if item["filename"].startswith(f"{prefix}-"):
                times[item["filename"]] = datetime.fromisoformat(item["uploaded_at"]).timestamp()
        if not (cursor := page["next_cursor"]):
            return times


def run(*arguments: str, **settings: str) -> str:
    """Return what a command prints; it must succeed."""
    command = start_main(*arguments, **settings)
    output, errors = command.communicate(timeout=LONG * 2)
    assert command.returncode == 0, output + errors
    return output
