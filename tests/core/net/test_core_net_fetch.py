"""A URL from untrusted input: what is rejected, that nothing is connected to, and what is read."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from core.errors import DownloadFailed, FileTooLarge, ForbiddenAddress
from core.net.addresses import is_public
from core.net.fetch import Fetcher

LOCAL = "127.0.0.1"
Answer = Callable[[str, dict[str, str]], bytes]

_connections: list[object] | None = None


def _on_audit(event: str, arguments: tuple[object, ...]) -> None:
    if event != "socket.connect" or _connections is None:
        return
    address = arguments[1]
    _connections.append(address)
    if isinstance(address, tuple) and address[0] not in (LOCAL, "::1"):
        raise ConnectionRefusedError("tests stay on this host")


sys.addaudithook(_on_audit)


@pytest.fixture
def connections() -> Iterator[list[object]]:
    """Every address that a socket of this process is connected to, whoever does it."""
    global _connections
    _connections = []
    yield _connections
    _connections = None


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "fetched"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Return a certificate for voices.example, and its key."""
    return certificate_for(tmp_path, "DNS:voices.example")


def certificate_for(tmp_path: Path, alternative_name: str) -> tuple[Path, Path]:
    paths = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-out", str(paths[0]), "-keyout", str(paths[1]), "-days", "1", "-subj", "/CN=voices.example"]
    command += ["-addext", f"subjectAltName={alternative_name}"]
    subprocess.run(command, check=True, capture_output=True)
    return paths


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def names(**table: list[str]) -> tuple[Callable[[str, int], Awaitable[list[str]]], list[str]]:
    """Return a resolver with a table of its own (dots are underscores), and the names that it was asked for."""
    result: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        result.append(host)
        answers = table[host.replace(".", "_")]
        return answers.pop(0).split(",") if len(answers) > 1 else answers[0].split(",")

    return resolve, result


@asynccontextmanager
async def a_server(answer: Answer, tls: ssl.SSLContext | None = None, host: str = LOCAL) -> AsyncIterator[int]:
    """Yield a server on a free port of this host, which answers each request by its path and headers."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
            writer.write(answer(head[0].split(" ")[1], headers))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has had enough
        finally:
            writer.close()

    server = await asyncio.start_server(handle, host, 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


def ok(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "no address",
        "",
        "192.0.0.8",
        "192.0.0.192",
        "192.0.0.9",
        "192.31.196.1",
        "192.52.193.1",
        "192.88.99.1",
        "192.175.48.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "100.100.100.200",
        "fec0::1",
        "feff::1",
        "100::1",
        "2001::1",
        "2001:2::1",
        "2001:20::1",
        "2001:1ff:ffff::1",
        "2001:db8::1",
        "2002:5db8:d822::1",
        "2620:4f:8000::1",
        "3fff::1",
        "3fff:fff::1",
        "4000::1",
        "5f00::1",
        "::7f00:1",
        "::5db8:d822",
        "64:ff9b::a00:1",
        "::ffff:192.0.0.192",
    ],
)
def test_an_address_that_is_not_public_is_recognised(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34",
        "192.0.1.1",
        "192.88.98.1",
        "198.17.255.255",
        "223.255.255.255",
        "2606:2800:220:1::1",
        "2001:200::1",
        "2001:4860:4860::8888",
        "::ffff:93.184.216.34",
        "64:ff9b::5db8:d822",
    ],
)
def test_a_public_address_is_recognised(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:6379/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://localhost/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://user:word@93.184.216.34/",
        "ftp://93.184.216.34/a.wav",
        "file:///etc/passwd",
        "gopher://93.184.216.34/",
        "http:///a.wav",
        "not a url",
        "http://xn--/",
        "http://xn--a/",
        "http://a..b/",
        "http://\u0378.example/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://1.2.3.4:99999/",
        "http://" + "a" * 300 + ".example/",
    ],
)
async def test_no_socket_is_connected_for_a_refused_url(url: str, target: Path, connections: list[object]) -> None:
    fetcher = Fetcher(max_bytes=1000)

    with pytest.raises((ForbiddenAddress, DownloadFailed)):
        await fetcher.fetch(url, target)

    assert connections == []
    assert content(target) is None


async def test_one_private_address_among_public_ones_refuses_the_host(target: Path, connections: list[object]) -> None:
    resolve, _ = names(mixed_example=["93.184.216.34,10.0.0.1"])

    with pytest.raises(ForbiddenAddress) as error:
        await Fetcher(max_bytes=1000, resolve=resolve).fetch("http://mixed.example/", target)

    assert connections == []
    assert "10.0.0.1" not in error.value.message + error.value.hint, "what a name resolves to is not told"


async def test_a_name_that_changes_its_address_after_the_check_changes_nothing(
    target: Path, connections: list[object]
) -> None:
    resolve, result = names(rebinding_example=["93.184.216.34", LOCAL])

    with pytest.raises(DownloadFailed, match="could not be read"):
        await Fetcher(max_bytes=1000, resolve=resolve).fetch("http://rebinding.example:8000/", target)

    assert result == ["rebinding.example"]
    assert connections == [("93.184.216.34", 8000)]


async def test_the_connection_goes_to_the_checked_address_in_the_name_of_the_host(
    target: Path, connections: list[object]
) -> None:
    resolve, result = names(voices_example=[LOCAL, "203.0.113.9"])
    seen: list[str] = []

    def answer(path: str, headers: dict[str, str]) -> bytes:
        seen.append(headers["host"])
        return ok(b"sound", "Content-Type: audio/wav")

    async with a_server(answer) as port:
        fetcher = Fetcher(max_bytes=1000, resolve=resolve, allowed_hosts=["Voices.Example"])
        fetched = await fetcher.fetch(f"http://voices.example:{port}/a.wav", target)

    assert content(target) == b"sound"
    assert (fetched.size_bytes, fetched.media_type) == (5, "audio/wav")
    assert seen == [f"voices.example:{port}"]
    assert result == ["voices.example"]
    assert connections == [(LOCAL, port)]


async def test_tls_is_spoken_with_the_name_and_not_with_the_address(
    certificate: tuple[Path, Path], tmp_path: Path, target: Path
) -> None:
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(*certificate)
    asked_for: list[str | None] = []
    server_side.sni_callback = lambda socket, name, context: asked_for.append(name)
    resolve, _ = names(voices_example=[LOCAL], other_example=[LOCAL])

    async with a_server(lambda path, headers: ok(b"sound"), server_side) as port:
        client_side = ssl.create_default_context(cafile=str(certificate[0]))
        hosts = ["voices.example", "other.example"]
        fetcher = Fetcher(max_bytes=1000, resolve=resolve, allowed_hosts=hosts, tls=client_side)
        await fetcher.fetch(f"https://voices.example:{port}/a.wav", target)
        with pytest.raises(DownloadFailed, match="certificate"):
            await fetcher.fetch(f"https://other.example:{port}/a.wav", tmp_path / "second")

    assert content(target) == b"sound"
    assert asked_for == ["voices.example", "other.example"]


@pytest.mark.parametrize("to", ["http://127.0.0.1:{port}/x", "http://[::1]/", "file:///etc/passwd", "//10.0.0.1/"])
async def test_a_redirect_is_checked_like_the_first_url(to: str, target: Path, connections: list[object]) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return [LOCAL if host == "open.example" else host]

    async with a_server(lambda path, headers: redirect(to.format(port=port))) as port:
        fetcher = Fetcher(max_bytes=1000, resolve=resolve, allowed_hosts=["open.example"])
        with pytest.raises(ForbiddenAddress):
            await fetcher.fetch(f"http://open.example:{port}/", target)

    assert connections == [(LOCAL, port)]


async def test_three_redirects_are_followed_and_a_fourth_is_not(target: Path) -> None:
    def answer(path: str, headers: dict[str, str]) -> bytes:
        left = int(path.strip("/"))
        return redirect(f"/{left - 1}") if left else ok(b"at last")

    async with a_server(answer) as port:
        fetcher = Fetcher(max_bytes=1000, allowed_hosts=[LOCAL])
        fetched = await fetcher.fetch(f"http://{LOCAL}:{port}/3", target)
        with pytest.raises(DownloadFailed, match="redirects"):
            await fetcher.fetch(f"http://{LOCAL}:{port}/4", target)

    assert fetched.url.endswith("/0")


async def test_a_body_above_the_cap_is_refused_by_its_announced_size(target: Path) -> None:
    async with a_server(lambda path, headers: b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n") as port:
        with pytest.raises(FileTooLarge):
            await Fetcher(max_bytes=1000, allowed_hosts=[LOCAL]).fetch(f"http://{LOCAL}:{port}/", target)

    assert content(target) is None


async def test_a_body_above_the_cap_is_refused_while_it_comes(target: Path) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n"

    async with a_server(lambda path, headers: chunked) as port:
        with pytest.raises(FileTooLarge):
            await Fetcher(max_bytes=1000, allowed_hosts=[LOCAL]).fetch(f"http://{LOCAL}:{port}/", target)

    assert content(target) is None


async def test_a_compressed_body_is_refused(target: Path) -> None:
    async with a_server(lambda path, headers: ok(b"\x1f\x8b", "Content-Encoding: gzip")) as port:
        with pytest.raises(DownloadFailed, match="compressed"):
            await Fetcher(max_bytes=1000, allowed_hosts=[LOCAL]).fetch(f"http://{LOCAL}:{port}/", target)


async def test_a_body_that_breaks_off_leaves_no_file(target: Path) -> None:
    async with a_server(lambda path, headers: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf") as port:
        with pytest.raises(DownloadFailed, match="broke off"):
            await Fetcher(max_bytes=1000, allowed_hosts=[LOCAL]).fetch(f"http://{LOCAL}:{port}/", target)

    assert content(target) is None


async def test_a_server_that_never_ends_is_left_in_time(target: Path) -> None:
    held: list[asyncio.StreamWriter] = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    async with await asyncio.start_server(hold, LOCAL, 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        fetcher = Fetcher(max_bytes=1000, allowed_hosts=[LOCAL], timeout_seconds=0.2)
        with pytest.raises(DownloadFailed, match="did not answer in full"):
            await fetcher.fetch(f"http://{LOCAL}:{port}/", target)
        for writer in held:
            writer.close()


async def test_an_unknown_host_and_an_error_status_are_named(target: Path) -> None:
    async def nowhere(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    with pytest.raises(DownloadFailed, match=r"nowhere\.example"):
        await Fetcher(max_bytes=1000, resolve=nowhere).fetch("http://nowhere.example/", target)

    missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    async with a_server(lambda path, headers: missing) as port:
        with pytest.raises(DownloadFailed, match="404"):
            await Fetcher(max_bytes=1000, allowed_hosts=[LOCAL]).fetch(f"http://{LOCAL}:{port}/", target)


async def test_a_proxy_of_the_environment_is_not_used(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    async with a_server(lambda path, headers: ok(b"direct")) as port:
        await Fetcher(max_bytes=1000, allowed_hosts=[LOCAL]).fetch(f"http://{LOCAL}:{port}/", target)

    assert content(target) == b"direct"


@pytest.mark.parametrize("url", ["http://xn--/", "http://[::1/", "ftp://secret.example/token", "http://u:secret@h/"])
async def test_a_call_to_something_that_is_no_url_does_not_repeat_it(url: str) -> None:
    with pytest.raises(ForbiddenAddress) as error:
        await Fetcher(max_bytes=1000).post(url, b"", {})

    assert url not in error.value.message
    assert "secret" not in error.value.message


@pytest.mark.parametrize("location", ["http://xn--/", "http://[::1/", "//xn--a/", "http://a..b/"])
async def test_a_redirect_to_something_that_is_no_url_is_rejected(location: str, target: Path) -> None:
    async with a_server(lambda path, headers: redirect(location)) as port:
        fetcher = Fetcher(max_bytes=1000, allowed_hosts=[LOCAL])

        with pytest.raises((ForbiddenAddress, DownloadFailed)):
            await fetcher.fetch(f"http://{LOCAL}:{port}/", target)

    assert content(target) is None


@pytest.mark.parametrize("allowed", ["::1", "[::1]", "0:0:0:0:0:0:0:1", "[0::1]"])
@pytest.mark.parametrize("host", ["[::1]", "[0:0:0:0:0:0:0:1]", "[::0001]"])
async def test_an_ipv6_host_is_reached_and_allowed_in_any_spelling(allowed: str, host: str, target: Path) -> None:
    seen: list[str] = []

    def answer(path: str, headers: dict[str, str]) -> bytes:
        seen.append(headers["host"])
        return ok(b"sound")

    async with a_server(answer, host="::1") as port:
        url = f"http://{host}:{port}/a.wav?b=1"
        fetched = await Fetcher(max_bytes=1000, allowed_hosts=[allowed]).fetch(url, target)
        status = await Fetcher(max_bytes=1000, allowed_hosts=[allowed]).post(url, b"", {})

    assert content(target) == b"sound"
    assert (fetched.url, status) == (url, 200)
    assert seen == [f"{host}:{port}"] * 2


async def test_an_ipv6_host_is_redirected_within_itself(target: Path) -> None:
    def answer(path: str, headers: dict[str, str]) -> bytes:
        return redirect("/b.wav") if path == "/a.wav" else ok(b"sound")

    async with a_server(answer, host="::1") as port:
        fetched = await Fetcher(max_bytes=1000, allowed_hosts=["::1"]).fetch(f"http://[::1]:{port}/a.wav", target)

    assert (fetched.url, content(target)) == (f"http://[::1]:{port}/b.wav", b"sound")


@pytest.mark.parametrize(
    "host",
    ["::1", "::", "::ffff:127.0.0.1", "::ffff:7f00:1", "fe80::1", "fe80::1%25eth0", "fd00:ec2::254", "64:ff9b::a00:1"],
)
async def test_an_ipv6_host_that_is_not_public_is_refused(host: str, target: Path, connections: list[object]) -> None:
    fetcher = Fetcher(max_bytes=1000)

    with pytest.raises(ForbiddenAddress, match="not a public address"):
        await fetcher.fetch(f"http://[{host}]:8000/", target)
    with pytest.raises(ForbiddenAddress):
        fetcher.check(f"http://[{host}]:8000/")

    assert connections == []


async def test_a_public_ipv6_host_is_connected_to(target: Path, connections: list[tuple[str, int]]) -> None:
    with pytest.raises(DownloadFailed, match="could not be read"):
        await Fetcher(max_bytes=1000).fetch("http://[2606:4700:4700::1111]:8000/", target)

    assert [connection[:2] for connection in connections] == [("2606:4700:4700::1111", 8000)]


async def test_a_host_whose_ipv6_address_cannot_be_reached_is_read_from_its_ipv4_address(
    target: Path, connections: list[tuple[str, int]]
) -> None:
    async with a_server(lambda path, headers: ok(b"sound")) as port:
        resolve, _ = names(both_example=[f"::1,{LOCAL}"])
        fetcher = Fetcher(max_bytes=1000, resolve=resolve, allowed_hosts=["both.example"])
        await fetcher.fetch(f"http://both.example:{port}/a.wav", target)
        await fetcher.put_file(f"http://both.example:{port}/a.wav", target, "audio/wav")

    assert content(target) == b"sound"
    assert [connection[0] for connection in connections] == ["::1", LOCAL] * 2


async def test_tls_is_spoken_with_an_ipv6_host(tmp_path: Path, target: Path) -> None:
    paths = certificate_for(tmp_path, "IP:::1")
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(*paths)
    client_side = ssl.create_default_context(cafile=str(paths[0]))

    async with a_server(lambda path, headers: ok(b"sound"), server_side, host="::1") as port:
        fetcher = Fetcher(max_bytes=1000, allowed_hosts=["::1"], tls=client_side)
        await fetcher.fetch(f"https://[::1]:{port}/a.wav", target)

    assert content(target) == b"sound"
