"""The server that a host starts for itself, and the clients."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from core.errors import NotReady
from core.redis import connect, connect_async
from core.redis_server import EmbeddedServer, find_redis_url, read_embedded_url
from core.settings import read_settings


def test_tools_find_the_server_and_others_do_not(own_server: EmbeddedServer):
    url = read_embedded_url(own_server.folder)
    without_password = connect(f"redis://127.0.0.1:{redis.connection.parse_url(url)['port']}/0")

    with pytest.raises(redis.AuthenticationError):
        without_password.ping()

    assert url == own_server.url
    with connect(url) as client:
        assert client.ping()
        assert client.config_get("appendonly", "bind", "maxmemory-policy") == {
            "appendonly": "yes",
            "bind": "127.0.0.1",
            "maxmemory-policy": "noeviction",
        }
    without_password.close()


def test_only_the_owner_can_read_the_password(own_server: EmbeddedServer):
    holding = [path for path in own_server.folder.iterdir() if path.is_file() and b"127.0.0.1" in path.read_bytes()]

    assert {path.name for path in holding} >= {"redis.json"}
    for path in holding:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert own_server.process is not None
    arguments = Path(f"/proc/{own_server.process.pid}/cmdline").read_bytes().decode()
    assert redis.connection.parse_url(own_server.url)["password"] not in arguments


def test_a_server_that_ended_in_order_is_not_found_and_keeps_what_it_held(own_server: EmbeddedServer):
    with connect(own_server.url) as client:
        client.set("kept", "yes")
    own_server.stop()
    url_afterwards = read_embedded_url(own_server.folder)

    own_server.start()

    assert url_afterwards == ""
    with connect(own_server.url) as client:
        assert client.get("kept") == "yes"


def test_after_a_crash_of_the_daemon_the_next_one_has_the_same_address(own_server: EmbeddedServer):
    url = own_server.url
    assert own_server.process is not None
    os.kill(own_server.process.pid, signal.SIGKILL)
    own_server.process.wait()

    successor = EmbeddedServer(own_server.folder)
    successor.start()

    assert successor.url == url
    successor.stop()


def test_two_servers_never_share_a_folder(own_server: EmbeddedServer):
    with pytest.raises(NotReady, match="in use"):
        EmbeddedServer(own_server.folder).start()

    with connect(own_server.url) as client:
        assert client.ping()


def test_a_server_that_cannot_start_says_what_its_log_says(tmp_path: Path):
    folder = tmp_path / "redis"
    (folder / "appendonlydir").mkdir(parents=True)
    (folder / "appendonlydir" / "appendonly.aof.manifest").write_text("no manifest\n")
    server = EmbeddedServer(folder)

    with pytest.raises(NotReady, match=r"manifest"):
        server.start()

    assert server.process is None


def test_the_server_dies_with_its_parent(tmp_path: Path):
    program = (
        "import sys, pathlib; from core.redis_server import EmbeddedServer; "
        "s = EmbeddedServer(pathlib.Path(sys.argv[1])); s.start(); print(s.url, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    client = connect(parent.stdout.readline().strip())
    listening = client.pubsub()
    listening.subscribe("anything")
    listening.get_message(timeout=5)

    parent.kill()
    parent.wait()

    with pytest.raises(redis.ConnectionError):
        listening.get_message(timeout=20)
    listening.close()
    client.close()
    parent.stdin.close()
    parent.stdout.close()


def test_without_a_daemon_or_a_setting_there_is_nothing_to_connect_to(tmp_path: Path):
    with pytest.raises(NotReady, match="No daemon runs"):
        find_redis_url(read_settings(data_path=tmp_path, redis_url=""))
    with pytest.raises(NotReady):
        connect("")
    with pytest.raises(NotReady):
        connect_async("")


def test_a_client_never_repeats_a_command_by_itself(server: EmbeddedServer):
    client, far = connect(server.url), connect_async(server.url)

    for retry in (client.get_retry(), far.get_retry()):
        assert retry is not None
        assert retry.get_retries() == 0
    client.close()
