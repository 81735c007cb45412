"""Watching a main site: the fourth failure in a row is an alert, and one's own network is no reason for a switch."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from core.settings import Settings, read_settings
from core.signing import key_of, new_secret
from recovery.backup.signatures import BadBackup
from recovery.backup.steps import StepLog
from recovery.standby.audit_chain import AuditChain
from recovery.standby.hooks import HookFailed, run_hook
from recovery.standby.site import StandbyFolder, WatchState
from recovery.standby.watch import Watcher


class MainSite:
    """A server whose readiness a test decides, and that takes webhooks."""

    def __init__(self) -> None:
        self.status = 200
        self.messages: list[tuple[dict[str, str], bytes]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(site.status)
                self.end_headers()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                site.messages.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def events(self) -> list[str]:
        return [json.loads(body)["event"] for _, body in self.messages]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def main_site() -> Iterator[MainSite]:
    site = MainSite()
    yield site
    site.close()


def watch_settings(tmp_path: Path, site: MainSite, **more: object) -> Settings:
    return read_settings(
        data_path=tmp_path / "standby",
        backup_url=str(tmp_path / "target"),
        standby_notify_url=site.url,
        standby_speech_probe_seconds=0,
        **more,
    )


def test_the_fourth_failure_in_a_row_alerts_once_and_a_success_ends_it(main_site: MainSite, tmp_path: Path):
    secret = new_secret()
    settings = watch_settings(tmp_path, main_site, webhook_secret=secret)
    watcher = Watcher(settings, main_site.url, StepLog(emit=lambda line: None))
    main_site.status = 503
    for _ in range(3):
        assert not watcher.watch_once()
    assert main_site.events() == []
    main_site.status = 200
    watcher.watch_once()
    main_site.status = 503
    for _ in range(3):
        watcher.watch_once()
    assert main_site.events() == []

    watcher.watch_once()
    watcher.watch_once()
    assert main_site.events() == ["standby.main_down"]
    headers, body = main_site.messages[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert "P1" in json.loads(body)["message"]

    main_site.status = 200
    watcher.watch_once()
    assert main_site.events() == ["standby.main_down", "standby.recovered"]
    state = StandbyFolder(settings.data_path).read(WatchState)
    assert state is not None
    assert (state.failures, state.alerted_at) == (0, 0.0)
    assert [entry.action for entry in AuditChain(settings.data_path).entries()] == main_site.events()


def test_nothing_is_switched_when_no_other_address_can_be_reached_either(main_site: MainSite, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead = f"127.0.0.1:{listener.getsockname()[1]}"
    settings = watch_settings(tmp_path, main_site, standby_automatic="on", standby_vantage=dead)
    watcher = Watcher(settings, main_site.url, StepLog(emit=lambda line: None))
    main_site.status = 503

    for _ in range(5):
        assert not watcher.watch_once()

    assert main_site.events() == []


def test_a_changed_audit_log_is_noticed(tmp_path: Path):
    chain = AuditChain(tmp_path)
    for number in range(3):
        chain.append("switch", f"step {number}")
    assert [entry.number for entry in chain.entries()] == [1, 2, 3]
    original = chain.path.read_bytes()

    for changed in (
        original.replace(b"step 1", b"step 9"),
        b"".join(original.splitlines(keepends=True)[1:]),
        original + b"{}\n",
    ):
        chain.path.write_bytes(changed)
        with pytest.raises(BadBackup, match="was changed: line"):
            list(chain.entries())


def test_a_hook_gets_its_values_and_a_failing_one_is_named(tmp_path: Path):
    output = run_hook("STANDBY_DNS_COMMAND", "sh -c 'echo $SOVITSD_NAME $SOVITSD_TTL'", name="voice.example", ttl="60")

    assert output == "voice.example 60"
    with pytest.raises(HookFailed, match="STANDBY_DNS_COMMAND ended with 3: refused"):
        run_hook("STANDBY_DNS_COMMAND", "sh -c 'echo refused >&2; exit 3'")
    with pytest.raises(HookFailed, match="did not work"):
        run_hook("STANDBY_DNS_COMMAND", str(tmp_path / "missing"))
