"""Real Redis and Valkey servers, sentinels and clusters as they are deployed, each on a free port of this machine."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from redis import exceptions
from redis.crc import key_slot

from core.process import bound_command
from core.redis_server import server_binary

SOON = 30.0

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed (apt install redis-server)"
)
needs_sentinel = pytest.mark.skipif(
    shutil.which("redis-sentinel") is None, reason="redis-sentinel is not installed (apt install redis-sentinel)"
)


def redis_binary(name: str) -> str:
    """Return the path of `redis` (Debian's server) or `valkey` (the embedded one)."""
    return str(server_binary()) if name == "valkey" else shutil.which("redis-server") or "redis-server"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_until(condition: Callable[[], Any], what: str, seconds: float = SOON) -> Any:
    """Return what `condition` answers, once it is something; an error of Redis counts as nothing."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if answer := condition():
                return answer
        except exceptions.RedisError:
            pass
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.05)


class RealServer:
    """One server process; a context manager."""

    def __init__(self, folder: Path, *options: str, binary: str = "redis-server", tls: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.tls = tls
        self._folder = folder
        ports = ["--port", str(self.port)] if tls is None else ["--port", "0", "--tls-port", str(self.port)]
        files = (
            [] if tls is None else ["--tls-cert-file", str(tls / "server.pem"), "--tls-key-file", str(tls / "key.pem")]
        )
        authority = [] if tls is None else ["--tls-ca-cert-file", str(tls / "ca.pem"), "--tls-auth-clients", "no"]
        self._command = [binary, *ports, *files, *authority, "--bind", "127.0.0.1", "--save", "", *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                bound_command(self._command), cwd=self._folder, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._answers, "a server")

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self, number: int) -> None:
        """Send SIGSTOP or SIGCONT."""
        assert self._process is not None
        self._process.send_signal(number)

    def client(self, **options: Any) -> redis.Redis:
        """Return a plain client of this very server."""
        if self.tls is not None:
            options = {"ssl": True, "ssl_ca_certs": str(self.tls / "ca.pem"), **options}
        return redis.Redis("127.0.0.1", self.port, decode_responses=True, protocol=2, socket_timeout=10, **options)

    @property
    def url(self) -> str:
        return f"{'redis' if self.tls is None else 'rediss'}://127.0.0.1:{self.port}/0"

    def __enter__(self) -> RealServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "server.log").read_text()
        try:
            with self.client() as client:
                return bool(client.ping())
        except exceptions.AuthenticationError:
            return True


class SentinelSet:
    """A primary, a replica and three sentinels that fail over within two seconds; a context manager."""

    NAME = "voices"

    def __init__(self, folder: Path, binary: str = "redis-server") -> None:
        self.servers = [RealServer(folder / f"server{number}", binary=binary) for number in range(2)]
        self._folder = folder
        self._sentinels: list[tuple[int, subprocess.Popen[bytes]]] = []

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port, _ in self._sentinels)
        return f"redis+sentinel://{hosts}/{self.NAME}/0"

    @property
    def primary(self) -> RealServer:
        """The server that most sentinels name."""
        ports = [self._named_by(port) for port, _ in self._sentinels]
        return next(server for server in self.servers if server.port == max(set(ports), key=ports.count))

    def replicated(self) -> bool:
        """Return whether the replica has all that the primary has."""
        with self.primary.client() as client:
            state: Any = client.info("replication")
        return bool(
            state["connected_slaves"] == 1
            and state["slave0"]["state"] == "online"
            and state["slave0"]["offset"] == state["master_repl_offset"]
        )

    def fail_over(self) -> RealServer:
        """kill -9 the primary and return the new one, once the sentinels agree on it."""
        old = self.primary
        old.kill()
        wait_until(lambda: self.primary is not old and self._accepts_writes(), "a failover")
        return self.primary

    def __enter__(self) -> SentinelSet:
        for server in self.servers:
            server.start()
        with self.servers[1].client() as client:
            client.replicaof("127.0.0.1", str(self.servers[0].port))  # type: ignore[no-untyped-call]
        for number in range(3):
            self._start_sentinel(number)
        wait_until(self.replicated, "replication")
        wait_until(self._know_each_other, "the sentinels")
        return self

    def __exit__(self, *_: object) -> None:
        for _port, process in self._sentinels:
            process.kill()
            process.wait()
        for server in self.servers:
            server.stop()

    def _start_sentinel(self, number: int) -> None:
        port, folder = free_port(), self._folder / f"sentinel{number}"
        folder.mkdir(parents=True)
        configuration = folder / "sentinel.conf"
        configuration.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {self.NAME} 127.0.0.1 {self.servers[0].port} 2\n"
            f"sentinel down-after-milliseconds {self.NAME} 1000\n"
            f"sentinel failover-timeout {self.NAME} 5000\n"
        )
        with (folder / "sentinel.log").open("wb") as log:
            command = bound_command(["redis-sentinel", str(configuration)])
            self._sentinels.append((port, subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)))
        wait_until(lambda: self._named_by(port), "a sentinel")

    def _named_by(self, port: int) -> int:
        with redis.Redis("127.0.0.1", port, decode_responses=True, protocol=2) as client:
            reply: Any = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME)  # type: ignore[no-untyped-call]
        return int(reply[1])

    def _know_each_other(self) -> bool:
        for port, _ in self._sentinels:
            with redis.Redis("127.0.0.1", port, decode_responses=True, protocol=2) as client:
                state: Any = client.info("sentinel")
            if "slaves=1,sentinels=3" not in str(state):
                fields = state.get("master0", {})
                if (fields.get("slaves"), fields.get("sentinels")) != (1, 3):
                    return False
        return True

    def _accepts_writes(self) -> bool:
        with self.primary.client() as client:
            return bool(client.set("probe-of-the-test", 1, ex=10))


class Cluster:
    """Three nodes that share the slots; a context manager."""

    def __init__(self, folder: Path, binary: str = "redis-server") -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port")
        self._buses = [free_port() for _ in range(3)]
        self.nodes = [
            RealServer(folder / f"node{number}", *options, str(bus), binary=binary)
            for number, bus in enumerate(self._buses)
        ]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def owner(self, prefix: str) -> RealServer:
        """Return the node that has the slot of a prefix."""
        slot = key_slot(prefix.encode())
        with self.nodes[0].client() as client:
            rows: Any = client.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
        port = next(int(owner[1]) for first, last, owner, *_ in rows if first <= slot <= last)
        return next(node for node in self.nodes if node.port == port)

    def move_slot(self, prefix: str, between: Callable[[], object] = lambda: None) -> RealServer:
        """Move the slot of a prefix to another node, key by key, and return it; `between` is called half-way."""
        slot, source = key_slot(prefix.encode()), self.owner(prefix)
        target = next(node for node in self.nodes if node is not source)
        with source.client() as old, target.client() as new:
            execute_old: Any = old.execute_command
            execute_new: Any = new.execute_command
            source_id, target_id = execute_old("CLUSTER", "MYID"), execute_new("CLUSTER", "MYID")
            execute_new("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
            execute_old("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
            halfway = False
            while keys := execute_old("CLUSTER", "GETKEYSINSLOT", slot, 2):
                execute_old("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
                if not halfway:
                    halfway = True
                    between()
            for execute in (execute_new, execute_old):
                execute("CLUSTER", "SETSLOT", slot, "NODE", target_id)
        wait_until(lambda: self.owner(prefix) is target, "the move of a slot")
        return target

    def __enter__(self) -> Cluster:
        for node in self.nodes:
            node.start()
        bounds = [0, 5461, 10923, 16384]
        for number, node in enumerate(self.nodes):
            with node.client() as client:
                execute: Any = client.execute_command
                execute("CLUSTER", "ADDSLOTS", *range(bounds[number], bounds[number + 1]))
                for other, bus in zip(self.nodes[:number], self._buses, strict=False):
                    execute("CLUSTER", "MEET", "127.0.0.1", other.port, bus)
        for node in self.nodes:
            wait_until(partial(self._is_complete, node), "a cluster")
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.stop()

    @staticmethod
    def _is_complete(node: RealServer) -> bool:
        with node.client() as client:
            state: Any = client.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]
            rows: Any = client.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
        text = state if isinstance(state, str) else str(state)
        return "ok" in text and len(rows) == 3


def write_certificates(folder: Path) -> Path:
    """Write a private authority and a server's certificate for 127.0.0.1: `ca.pem`, `server.pem`, `key.pem`."""
    folder.mkdir(parents=True, exist_ok=True)

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("-newkey", "rsa:2048", "-nodes")
    openssl(
        "req", "-x509", *new_key, "-keyout", "ca-key.pem", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Private CA"
    )
    openssl("req", *new_key, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=127.0.0.1")
    (folder / "names.txt").write_text("subjectAltName=IP:127.0.0.1\n")
    signing = ("-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2", "-extfile", "names.txt")
    openssl("x509", "-req", "-in", "request.pem", *signing, "-out", "server.pem")
    return folder
