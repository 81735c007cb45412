"""HTTP requests to URLs from untrusted input: only to checked public addresses, and with a size limit."""

from __future__ import annotations

import asyncio
import socket
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from core.errors import DownloadFailed, FileTooLarge, ForbiddenAddress
from core.net.addresses import canonical_host, is_address, is_public

if TYPE_CHECKING:
    import httpx

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Host and port → addresses, best first."""

RECORDING_SECONDS: Final = 300.0
"""For a whole recording or ZIP, from the first lookup to the last byte."""
MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_UNKNOWN_METHOD: Final = frozenset({405, 501})
_METADATA_HOSTS: Final = frozenset({"metadata", "metadata.google.internal", "metadata.azure.internal", "instance-data"})


@dataclass(frozen=True, slots=True)
class Download:
    """A file that was downloaded."""

    url: str
    """The URL after all redirects."""
    size_bytes: int
    media_type: str
    """As the server declares it; untrusted."""


async def resolve(host: str, port: int) -> list[str]:
    """Resolve a host with the system's resolver."""
    addresses = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in addresses))


@dataclass(frozen=True, slots=True)
class FileForm:
    """A multipart form with one file."""

    filename: str
    size_bytes: int
    open: Callable[[], IO[bytes]]
    fields: Mapping[str, str]


class Fetcher:
    """Sends requests to untrusted URLs.

    Each hop is resolved once, all its addresses are checked, and the connection goes to a checked address with the
    host's name in `Host` and SNI, so a name that changes its address in between (DNS rebinding) has no effect.
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
        """Of a whole request, from the first lookup to the last byte."""
        self.allowed_hosts = frozenset(map(canonical_host, allowed_hosts))
        """Hosts whose addresses are not checked."""
        self.allowed_by = allowed_by
        """The setting that names them, for error messages."""
        self._resolve = resolve
        self._tls = tls

    async def fetch(self, url: str, path: Path) -> Download:
        """Download `url` into a file; on any error there is no file.

        Raises: ForbiddenAddress, DownloadFailed, FileTooLarge.
        """
        with _delete_on_error(path):
            try:
                async with asyncio.timeout(self.timeout_seconds):
                    return await self._follow_redirects(url, path)
            except TimeoutError:
                raise DownloadFailed(f"{url} did not answer in full within {self.timeout_seconds:g} s.") from None

    async def _follow_redirects(self, url: str, path: Path) -> Download:
        import httpx

        verify: ssl.SSLContext | bool = self._tls or True
        # trust_env: a proxy from the environment would connect to addresses that were not checked.
        async with httpx.AsyncClient(verify=verify, trust_env=False, timeout=self.timeout_seconds) as client:
            for _ in range(MAX_REDIRECTS + 1):
                try:
                    response = await self._request(client, url)
                except httpx.HTTPError as error:
                    raise DownloadFailed(f"{url} could not be read: {error or type(error).__name__}.") from None
                except (httpx.InvalidURL, ValueError) as error:  # httpx parses the address of a redirect at once
                    raise DownloadFailed(f"{url} redirects to something that is no URL: {error}.") from None
                try:
                    if response.status_code not in _REDIRECTS:
                        return await self._read_body(url, response, path)
                    url = _redirect_target(url, response.headers.get("location", ""))
                finally:
                    await response.aclose()
        raise DownloadFailed(f"More than {MAX_REDIRECTS} redirects, the last one to {url}.")

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> int:
        """POST to a URL and return the status of the response; its body is not read, and redirects are not followed.

        Raises: ForbiddenAddress or DownloadFailed, which name the host and not the URL, because it may hold a secret.
        """
        return await self._send(url, "POST", headers, content)

    async def _send(
        self, url: str, method: str, headers: Mapping[str, str], content: bytes | AsyncIterator[bytes]
    ) -> int:
        import httpx

        verify: ssl.SSLContext | bool = self._tls or True
        try:
            host = _parse(url).host
        except ForbiddenAddress:  # its message holds the URL
            raise ForbiddenAddress("That is no http:// or https:// URL.") from None
        try:
            async with (
                asyncio.timeout(self.timeout_seconds),
                httpx.AsyncClient(verify=verify, trust_env=False, timeout=self.timeout_seconds) as client,
            ):
                response = await self._request(client, url, method, headers, content)
                await response.aclose()
                return response.status_code
        except TimeoutError:
            raise DownloadFailed(f"{host} did not answer within {self.timeout_seconds:g} s.") from None
        except (httpx.InvalidURL, ValueError):  # httpx parses the address of a redirect at once
            raise DownloadFailed(f"{host} redirects to something that is no URL.") from None
        except httpx.HTTPError as error:
            raise DownloadFailed(f"{host} could not be reached: {error or type(error).__name__}.") from None

    async def put_file(self, url: str, path: Path, media_type: str, *, token: str = "") -> int:
        """PUT a file, or POST it where PUT is not supported; otherwise as `post`. A `token` is a bearer's."""
        size = (await asyncio.to_thread(path.stat)).st_size
        headers = {"Content-Type": media_type, "Content-Length": str(size)}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        status = await self._send(url, "PUT", headers, _chunks(path))
        if status in _UNKNOWN_METHOD:
            status = await self._send(url, "POST", headers, _chunks(path))
        return status

    async def post_form(self, url: str, form: FileForm, *, token: str = "") -> int:
        """POST a form with a file, whose part is `file`; otherwise as `post`. A `token` is a bearer's."""
        boundary = uuid.uuid4().hex
        part = f'--{boundary}\r\nContent-Disposition: form-data; name="'
        head = "".join(f'{part}{name}"\r\n\r\n{value}\r\n' for name, value in form.fields.items())
        filename = form.filename.replace('"', "%22")
        head += f'{part}file"; filename="{filename}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        start, end = head.encode(), f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(start) + form.size_bytes + len(end)),
        }
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return await self._send(url, "POST", headers, _form_chunks(start, form, end))

    def check(self, url: str) -> str:
        """Return the URL; raise ForbiddenAddress for one that is rejected without resolving its host."""
        target = _parse(url)
        host = target.host
        if is_address(host) and canonical_host(host) not in self.allowed_hosts and not is_public(host):
            raise self._not_public(host)
        return url

    async def _request(
        self,
        client: httpx.AsyncClient,
        url: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
    ) -> httpx.Response:
        """Send a request in the name of the URL's host to the first of its checked addresses that can be connected to.

        A host may have an IPv6 address that this machine cannot reach.
        """
        import httpx

        target = _parse(url)
        host = target.raw_host.decode().rstrip(".")
        addresses = await self._checked_addresses(host, target.port or _PORTS[target.scheme])
        # Compressed bodies would have to be unpacked before they could be counted.
        headers = {"Host": target.netloc.decode(), "Accept-Encoding": "identity", **(headers or {})}
        for address in addresses:
            request = client.build_request(
                method,
                target.copy_with(host=address, fragment=None),
                content=content,
                headers=headers,
                extensions={"sni_hostname": host},
            )
            try:
                return await client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if address == addresses[-1] or isinstance(error.__context__, ssl.SSLError):
                    raise
        raise AssertionError("there is at least one address")

    async def _checked_addresses(self, host: str, port: int) -> list[str]:
        name = canonical_host(host)
        allowed = name in self.allowed_hosts
        if name in _METADATA_HOSTS and not allowed:
            raise ForbiddenAddress(f"{host} is refused: it describes the machine it is asked from.")
        if is_address(name) and not allowed and not is_public(name):
            raise self._not_public(host)
        try:
            addresses = await self._resolve(name if is_address(name) else host, port)
        except (OSError, UnicodeError) as error:
            raise DownloadFailed(f"The host {host} is not known: {error}.") from None
        if not addresses:
            raise DownloadFailed(f"The host {host} has no address.")
        for address in addresses:
            if not allowed and not is_public(address):
                raise self._not_public(host)
        return addresses

    def _not_public(self, host: str) -> ForbiddenAddress:
        # Not the address: a caller shall not learn what an internal name resolves to.
        return ForbiddenAddress(
            f"{host} is refused: it is not a public address.",
            hint=f"An operator can allow the host with {self.allowed_by}.",
        )

    async def _read_body(self, url: str, response: httpx.Response, path: Path) -> Download:
        import httpx

        if response.status_code != 200:
            raise DownloadFailed(f"{url} answered {response.status_code}.")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise DownloadFailed(f"{url} answered with a compressed body although none was asked for.")
        if int(response.headers.get("content-length") or 0) > self.max_bytes:
            raise self._too_large(url)
        size = 0
        try:
            with path.open("wb") as file:
                async for chunk in response.aiter_raw():
                    size += len(chunk)
                    if size > self.max_bytes:
                        raise self._too_large(url)
                    await asyncio.to_thread(file.write, chunk)
        except httpx.HTTPError as error:
            raise DownloadFailed(f"{url} broke off: {error or type(error).__name__}.") from None
        return Download(url, size, response.headers.get("content-type", ""))

    def _too_large(self, url: str) -> FileTooLarge:
        return FileTooLarge(f"{url} holds more than {self.max_bytes / 2**20:g} MiB, the most that is read.")


@contextmanager
def _delete_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, 1 << 18):
            yield chunk


async def _form_chunks(start: bytes, form: FileForm, end: bytes) -> AsyncIterator[bytes]:
    yield start
    with await asyncio.to_thread(form.open) as file:
        while block := await asyncio.to_thread(file.read, 1 << 20):
            yield block
    yield end


_PORTS: Final = {"http": 80, "https": 443}


def _parse(url: str) -> httpx.URL:
    import httpx

    try:
        target = httpx.URL(url)
        target.host  # noqa: B018  # decoding a host such as `xn--` fails only here
    except (httpx.InvalidURL, ValueError) as error:  # UnicodeError and what idna raises are ValueErrors
        raise ForbiddenAddress(f"{url!r} is no URL: {error}.") from None
    if target.scheme not in ("http", "https") or not target.host:
        raise ForbiddenAddress(f"{url!r} is refused.", hint="Only http:// and https:// URLs are read.")
    if target.port is not None and not 0 < target.port < 65536:
        raise ForbiddenAddress(f"{url!r} is no URL: ports go from 1 to 65535.")
    if target.userinfo:
        raise ForbiddenAddress("A URL with a user name or password is refused.")
    return target


def _redirect_target(url: str, location: str) -> str:
    import httpx

    if not location:
        raise DownloadFailed(f"{url} redirects to nowhere.")
    try:
        return str(httpx.URL(url).join(location))
    except (httpx.InvalidURL, ValueError) as error:
        raise DownloadFailed(f"{url} redirects to something that is no URL: {error}.") from None
