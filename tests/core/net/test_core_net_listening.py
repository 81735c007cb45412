"""The addresses at which the API listens."""

from __future__ import annotations

import asyncio
import socket

import pytest

from core.net.listening import CannotListen, listening_sockets, reserve_port


def addresses(sockets: list[socket.socket]) -> list[str]:
    return [bound.getsockname()[0] for bound in sockets]


@pytest.fixture
def closing() -> list[socket.socket]:
    """Return a list whose sockets are closed afterwards."""
    return []


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
@pytest.mark.parametrize("free_port", [True, False])
def test_both_loopback_addresses_have_the_same_port(host: str, free_port: bool) -> None:
    port = 0
    if not free_port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]

    sockets = listening_sockets(host, port)

    assert sorted(addresses(sockets)) == ["127.0.0.1", "::1"]
    assert len({bound.getsockname()[1] for bound in sockets}) == 1
    for bound in sockets:
        bound.close()


def test_another_address_is_the_only_one() -> None:
    [bound] = listening_sockets("0.0.0.0", 0)  # every address is the point here

    assert bound.getsockname()[0] == "0.0.0.0"
    bound.close()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        port = occupied.getsockname()[1]

        with pytest.raises(CannotListen, match=f"cannot listen at 127.0.0.1:{port}"):
            listening_sockets("127.0.0.1", port)


def test_where_processes_cannot_share_a_port_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT")

    with pytest.raises(CannotListen, match="On Windows, processes of the API cannot share a port") as failure:
        reserve_port("127.0.0.1", 0)

    assert failure.value.hint == "Set API_WORKERS=1."


def test_the_other_address_may_be_taken(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as probe, socket.socket(socket.AF_INET6) as occupied:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]  # free at both addresses, whatever else runs here
        occupied.bind(("::1", port))
        occupied.listen()
        probe.close()

        [bound] = listening_sockets("127.0.0.1", port)

    assert bound.getsockname() == ("127.0.0.1", port)
    assert f"port {port} of ::1" in caplog.text
    bound.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_what_is_sent_leaves_at_once(host: str) -> None:
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        accepted.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    bound, other = listening_sockets(host, 0)
    other.close()
    async with await asyncio.start_server(serve, sock=bound), asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(*bound.getsockname()[:2])
        await reader.read()
        writer.close()

    assert accepted.result() == 1
