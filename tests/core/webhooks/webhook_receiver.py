"""Someone who is told: a real HTTP server that keeps what it gets, and answers as the test says."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import orjson


@dataclass
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> str:
        return str(orjson.loads(self.body)["type"])


@dataclass
class Receiver:
    """What came, and what is answered: the statuses in turn, the last one again and again; 0 hangs."""

    statuses: list[int] = field(default_factory=lambda: [204])
    location: str = ""
    port: int = 0
    received: list[Received] = field(default_factory=list)
    hung_up: int = 0
    """Times that the other side left while it was kept waiting."""
    came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.received.append(Received(head[0].split(" ")[1], headers, body))
            status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
            self.came.set()
            if status == 0:
                await reader.read()
                self.hung_up += 1
            else:
                location = f"Location: {self.location}\r\n" if self.location else ""
                writer.write(f"HTTP/1.1 {status} X\r\n{location}Content-Length: 0\r\n\r\n".encode())
                await writer.drain()
        writer.close()


@asynccontextmanager
async def receiving(*statuses: int, location: str = "") -> AsyncIterator[Receiver]:
    """Yield a receiver on a free port of this host."""
    receiver = Receiver(list(statuses) or [204], location)
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


def is_signed(received: Received, secret: str) -> bool:
    """As https://www.standardwebhooks.com says it is checked, written down here a second time."""
    key = base64.b64decode(secret.split("_", 1)[1])
    signed = b".".join(
        (received.headers["webhook-id"].encode(), received.headers["webhook-timestamp"].encode(), received.body)
    )
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return f"v1,{expected}" in received.headers["webhook-signature"].split(" ")
