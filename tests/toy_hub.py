"""A small hub on this machine: speaks the `resolve` protocol, and ModelScope's, and breaks when told to."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What it serves, how it misbehaves, and what was asked of it."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    """`owner/name/path` → content."""
    small: set[str] = field(default_factory=set)
    """Those that lie in Git itself: no redirect, and Git's sum."""
    wrong_sums: bool = False
    break_after: list[int] = field(default_factory=list)
    """Bytes after which the next transfers are cut; 0 cuts before the first."""
    transfers: list[tuple[str, str]] = field(default_factory=list)
    """(file, its Range) of every request for content."""
    authorizations: list[str] = field(default_factory=list)

    def etag(self, name: str) -> str:
        content = b"another content" if self.wrong_sums else self.files[name]
        if name in self.small:
            return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        return hashlib.sha256(content).hexdigest()


@contextmanager
def running() -> Iterator[Hub]:
    """Serve on a free port until the block ends."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            _answer(self, hub, body=False)

        def do_GET(self) -> None:
            _answer(self, hub, body=True)

        def log_message(self, *_arguments: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(request: BaseHTTPRequestHandler, hub: Hub, *, body: bool) -> None:
    path = unquote(urlsplit(request.path).path)
    hub.authorizations.append(request.headers.get("Authorization", ""))
    stored = path.removeprefix("/elsewhere/")
    if stored in hub.files:
        _send(request, hub, stored, {}, body=body)
        return
    if listing := re.fullmatch(r"/api/v1/models/([^/]+/[^/]+)/repo/files", path):
        _list_files(request, hub, listing[1])
        return
    if (at_modelscope := re.fullmatch(r"/models/([^/]+/[^/]+)/resolve/master/(.+)", path)) is not None:
        _send(request, hub, f"{at_modelscope[1]}/{at_modelscope[2]}", {}, body=body)
        return
    match = re.fullmatch(r"/(\w[\w-]*/[\w.-]+)/resolve/([^/]+)/(.+)", path)
    name = f"{match[1]}/{match[3]}" if match else ""
    if name not in hub.files or match is None or match[2] not in ("main", COMMIT):
        _head(request, 404, {"X-Error-Code": "EntryNotFound", "Content-Length": "0"})
        return
    facts = {"X-Repo-Commit": COMMIT}
    if name in hub.small:
        _send(request, hub, name, facts | {"ETag": f'"{hub.etag(name)}"'}, body=body)
        return
    elsewhere = f"http://localhost:{hub.url.rpartition(':')[2]}/elsewhere/{name}"
    facts |= {"X-Linked-Etag": f'"{hub.etag(name)}"', "X-Linked-Size": str(len(hub.files[name]))}
    _head(request, 302, facts | {"Location": elsewhere, "Content-Length": "0"})


def _list_files(request: BaseHTTPRequestHandler, hub: Hub, repository: str) -> None:
    """List a repository as ModelScope does."""
    files = [
        {"Path": name.removeprefix(f"{repository}/"), "Type": "blob", "Size": len(content), "Sha256": hub.etag(name)}
        for name, content in hub.files.items()
        if name.startswith(f"{repository}/")
    ]
    content = json.dumps({"Code": 200, "Success": True, "Data": {"Files": files}}).encode()
    _head(request, 200 if files else 404, {"Content-Length": str(len(content)), "Content-Type": "application/json"})
    request.wfile.write(content)


def _send(request: BaseHTTPRequestHandler, hub: Hub, name: str, facts: dict[str, str], *, body: bool) -> None:
    content, ranged = hub.files[name], request.headers.get("Range", "")
    start = int(ranged.removeprefix("bytes=").rstrip("-")) if ranged else 0
    if ranged:
        facts = facts | {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
    if body:
        hub.transfers.append((name, ranged))
    cut = hub.break_after.pop(0) if body and hub.break_after else None
    _head(request, 206 if ranged else 200, facts | {"Content-Length": str(len(content) - start)})
    if body:
        request.wfile.write(content[start:][:cut])
    if cut is not None:
        request.wfile.flush()
        request.close_connection = True


def _head(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()
