"""Reads a URL that a stranger named: from the address that was checked, and only so much."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import DownloadFailed, FileTooLarge, ForbiddenAddress

if TYPE_CHECKING:
    import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Host and port → addresses, best first."""

MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_UNKNOWN_METHOD: Final = frozenset({405, 501})
_METADATA_HOSTS: Final = frozenset({"metadata", "metadata.google.internal", "metadata.azure.internal", "instance-data"})
_AZURE_WIRE_SERVER: Final = ipaddress.ip_address("168.63.129.16")
"""A metadata host on a public address."""
_TRANSLATED: Final = ipaddress.ip_network("64:ff9b::/96")
_LOCALLY_TRANSLATED: Final = ipaddress.ip_network("64:ff9b:1::/48")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was read."""

    url: str
    """Where the last redirect led."""
    size_bytes: int
    media_type: str
    """As the other side calls it; not to be trusted."""


async def resolve(host: str, port: int) -> list[str]:
    """Ask the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Fetcher:
    """Reads URLs of strangers into files.

    Every hop is resolved once, all its addresses are checked, and the connection goes to a checked address
    with the host's name in `Host` and SNI. So a name that changes its address in between changes nothing.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        timeout_seconds: float = 30.0,
        allowed_hosts: Iterable[str] = (),
        allowed_by: str = "FETCH_ALLOWED_HOSTS",
        resolve: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.max_bytes = max_bytes
        self.timeout_seconds = timeout_seconds
        """For everything together, from the first lookup to the last byte."""
        self.allowed_hosts = frozenset(host.lower().rstrip(".") for host in allowed_hosts)
        """Exceptions: hosts whose addresses are not looked at."""
        self.allowed_by = allowed_by
        """The setting that names them."""
        self._resolve = resolve
        self._tls = tls

    async def fetch(self, url: str, into: Path) -> Fetched:
        """Read `url` into the file. ForbiddenAddress, DownloadFailed or FileTooLarge; then there is no file."""
        try:
            async with asyncio.timeout(self.timeout_seconds):
                return await self._follow(url, into)
        except TimeoutError:
            _discard(into)
            raise DownloadFailed(f"{url} did not answer in full within {self.timeout_seconds:g} s.") from None
        except BaseException:
            _discard(into)
            raise

    async def _follow(self, url: str, into: Path) -> Fetched:
        import httpx

        verify: ssl.SSLContext | bool = self._tls or True
        # No environment: a proxy would connect where it likes.
        async with httpx.AsyncClient(verify=verify, trust_env=False, timeout=self.timeout_seconds) as client:
            for _ in range(MAX_REDIRECTS + 1):
                request = await self._pinned(client, url)
                try:
                    answer = await client.send(request, stream=True)
                except httpx.HTTPError as error:
                    raise DownloadFailed(f"{url} could not be read: {error or type(error).__name__}.") from None
                try:
                    if answer.status_code not in _REDIRECTS:
                        return await self._read(url, answer, into)
                    url = _join(url, answer.headers.get("location", ""))
                finally:
                    await answer.aclose()
        raise DownloadFailed(f"More than {MAX_REDIRECTS} redirects, the last one to {url}.")

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> int:
        """Send to the URL; the status of the answer, whose body is not read. A redirect is an answer like any other.

        ForbiddenAddress or DownloadFailed, which name the host and not the URL: it may hold a secret.
        """
        return await self._send(url, "POST", headers, content)

    async def _send(
        self, url: str, method: str, headers: Mapping[str, str], content: bytes | AsyncIterator[bytes]
    ) -> int:
        import httpx

        verify: ssl.SSLContext | bool = self._tls or True
        host = "The address"
        try:
            host = httpx.URL(url).host or host
            async with (
                asyncio.timeout(self.timeout_seconds),
                httpx.AsyncClient(verify=verify, trust_env=False, timeout=self.timeout_seconds) as client,
            ):
                request = await self._pinned(client, url, method, headers, content)
                answer = await client.send(request, stream=True)
                await answer.aclose()
                return answer.status_code
        except TimeoutError:
            raise DownloadFailed(f"{host} did not answer within {self.timeout_seconds:g} s.") from None
        except httpx.InvalidURL:
            raise ForbiddenAddress("That is no URL.") from None
        except httpx.HTTPError as error:
            raise DownloadFailed(f"{host} could not be reached: {error or type(error).__name__}.") from None

    async def put_file(self, url: str, path: Path, media_type: str) -> int:
        """Send a file as it is read; the status of the answer. A POST where PUT is not known. Otherwise as `post`."""
        size = (await asyncio.to_thread(path.stat)).st_size
        headers = {"Content-Type": media_type, "Content-Length": str(size)}
        status = await self._send(url, "PUT", headers, _blocks(path))
        if status in _UNKNOWN_METHOD:
            status = await self._send(url, "POST", headers, _blocks(path))
        return status

    def check(self, url: str) -> str:
        """The URL, unless it is refused without a look at where its name leads: ForbiddenAddress."""
        target = _parse(url)
        host = target.host
        if _is_address(host) and host not in self.allowed_hosts and not is_public(host):
            raise self._not_public(host, host)
        return url

    async def _pinned(
        self,
        client: httpx.AsyncClient,
        url: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
    ) -> httpx.Request:
        """A request to a checked address of the URL's host, in the host's name."""
        target = _parse(url)
        address = await self._checked_address(target.raw_host.decode(), target.port or _PORTS[target.scheme])
        return client.build_request(
            method,
            target.copy_with(host=address, fragment=None),
            content=content,
            # Compressed bodies would have to be unpacked before they could be counted.
            headers={"Host": target.netloc.decode(), "Accept-Encoding": "identity", **(headers or {})},
            extensions={"sni_hostname": target.raw_host.decode().rstrip(".")},
        )

    async def _checked_address(self, host: str, port: int) -> str:
        name = host.lower().rstrip(".")
        allowed = name in self.allowed_hosts
        if name in _METADATA_HOSTS and not allowed:
            raise ForbiddenAddress(f"{host} is refused: it describes the machine it is asked from.")
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise DownloadFailed(f"The host {host} is not known: {error}.") from None
        if not found:
            raise DownloadFailed(f"The host {host} has no address.")
        for text in found:
            if not allowed and not is_public(text):
                raise self._not_public(host, text)
        return found[0]

    def _not_public(self, host: str, address: str) -> ForbiddenAddress:
        return ForbiddenAddress(
            f"{host} is refused: {address} is not a public address.",
            hint=f"An operator can allow the host with {self.allowed_by}.",
        )

    async def _read(self, url: str, answer: httpx.Response, into: Path) -> Fetched:
        import httpx

        if answer.status_code != 200:
            raise DownloadFailed(f"{url} answered {answer.status_code}.")
        if answer.headers.get("content-encoding", "identity").lower() != "identity":
            raise DownloadFailed(f"{url} answered with a compressed body although none was asked for.")
        if int(answer.headers.get("content-length") or 0) > self.max_bytes:
            raise self._too_large(url)
        size = 0
        try:
            with into.open("wb") as file:
                async for chunk in answer.aiter_raw():
                    size += len(chunk)
                    if size > self.max_bytes:
                        raise self._too_large(url)
                    await asyncio.to_thread(file.write, chunk)
        except httpx.HTTPError as error:
            raise DownloadFailed(f"{url} broke off: {error or type(error).__name__}.") from None
        return Fetched(url, size, answer.headers.get("content-type", ""))

    def _too_large(self, url: str) -> FileTooLarge:
        return FileTooLarge(f"{url} holds more than {self.max_bytes / 2**20:g} MiB, the most that is read.")


async def _blocks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while block := await asyncio.to_thread(file.read, 1 << 18):
            yield block


def _discard(path: Path) -> None:
    path.unlink(missing_ok=True)


_PORTS: Final = {"http": 80, "https": 443}


def _parse(url: str) -> httpx.URL:
    import httpx

    try:
        target = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ForbiddenAddress(f"{url!r} is no URL: {error}.") from None
    if target.scheme not in ("http", "https") or not target.host:
        raise ForbiddenAddress(f"{url!r} is refused.", hint="Only http:// and https:// URLs are read.")
    if target.userinfo:
        raise ForbiddenAddress("A URL with a user name or password is refused.")
    return target


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def is_public(text: str) -> bool:
    """Whether an address belongs to the open internet; IPv4 inside IPv6 is looked at, too."""
    try:
        address: Address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(str(inner))
        if address in _LOCALLY_TRANSLATED:
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not address.is_unspecified
        and address != _AZURE_WIRE_SERVER
    )


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that packets to this one really reach."""
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour


def _join(url: str, location: str) -> str:
    import httpx

    if not location:
        raise DownloadFailed(f"{url} redirects to nowhere.")
    try:
        return str(httpx.URL(url).join(location))
    except httpx.InvalidURL as error:
        raise DownloadFailed(f"{url} redirects to something that is no URL: {error}.") from None
