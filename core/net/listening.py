"""Where the API listens: for this machine only, at both loopback addresses, since `localhost` may mean either."""

from __future__ import annotations

import errno
import logging
import os
import socket
from contextlib import suppress
from typing import Final

from common.hosts import bracketed
from core.errors import SovitsError

logger = logging.getLogger(__name__)

LOOPBACK: Final = ("127.0.0.1", "::1")
NO_ADDRESS: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""The host has no such address."""
TRIES: Final = 20
"""For a free port that is free at both addresses."""


class CannotListen(SovitsError):
    """The address of the API cannot be used."""

    code = "cannot_listen"


def listening_sockets(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """Return bound sockets: of the other loopback address as well, where the host is one and has the other.

    `shared`: other processes of this service listen at the same port, and the kernel spreads connections over them.

    Raises:
        CannotListen: another process has the port, the host has no such address, or processes cannot share a port here.
    """
    if shared and not hasattr(socket, "SO_REUSEPORT"):
        raise CannotListen("On Windows, processes of the API cannot share a port.", hint="Set API_WORKERS=1.")
    host = LOOPBACK[0] if host.lower() == "localhost" else host
    other = next((address for address in LOOPBACK if address != host), "") if host in LOOPBACK else ""
    sockets: list[socket.socket] = []
    for attempt in range(1, TRIES + 1):
        try:
            sockets = [_bind(host, port, shared)]
        except OSError as error:
            raise CannotListen(
                f"The API cannot listen at {bracketed(host)}:{port}: {error.strerror or error}.",
                hint="Stop the process that has this address, or set HOST and PORT to others.",
            ) from None
        if not other:
            break
        try:
            sockets.append(_bind(other, sockets[0].getsockname()[1], shared))
            break
        except OSError as error:
            if error.errno in NO_ADDRESS:
                break
            if port or attempt == TRIES:
                logger.warning("Another process has port %d of %s: %s.", port, other, error.strerror)
                break
            sockets[0].close()  # another free port may be free at both addresses
    return sockets


def reserve_port(host: str, port: int) -> list[socket.socket]:
    """Return sockets that hold a port for the processes that share it, and get no connections themselves.

    Raises:
        CannotListen: as `listening_sockets`.
    """
    for exclusive in listening_sockets(host, port):  # says whether somebody else has it, as shared ones would not
        port = port or exclusive.getsockname()[1]
        exclusive.close()
    return listening_sockets(host, port, shared=True)


def announce_on_stdout(address: str) -> None:
    """Write the line that desktop shells wait for; whoever started the server may have closed the pipe."""
    with suppress(OSError):
        os.write(1, f"Uvicorn running on {address}\n".encode())


def _bind(host: str, port: int, shared: bool) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    # Only where the protocol is named, asyncio sets TCP_NODELAY on its connections: without it, the first bytes of a
    # stream wait 40 ms for the client's acknowledgement of the headers.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if host == LOOPBACK[1]:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
