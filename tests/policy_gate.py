"""A server in front of an object store that refuses every action which an IAM policy does not allow."""

from __future__ import annotations

import json
import re
import threading
from fnmatch import fnmatchcase
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

REPOSITORY = Path(__file__).resolve().parents[1]
_HOP_BY_HOP = ("connection", "transfer-encoding", "server", "date")


def documented_policies(bucket: str) -> list[dict[str, Any]]:
    """Return the policies of docs/backup.md in their order, for another bucket."""
    blocks = re.findall(r"```json\n(\{.*?\})\n```", (REPOSITORY / "docs" / "backup.md").read_text(), re.DOTALL)
    return [json.loads(block.replace("voices-backup", bucket)) for block in blocks]


class PolicyGate:
    """Carries requests to a store on another port of this host; a context manager."""

    def __init__(self, port: int, policy: dict[str, Any]) -> None:
        self.refused: list[tuple[str, str]] = []
        """Actions and resources."""
        self._policy = policy
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _carry(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                action, resource = action_of(self.command, self.path)
                status, headers, content = 403, {}, _ACCESS_DENIED
                if gate.allows(action, resource):
                    connection = HTTPConnection("127.0.0.1", port)
                    connection.request(self.command, self.path, body, dict(self.headers))
                    response = connection.getresponse()
                    status, headers, content = response.status, dict(response.headers), response.read()
                    connection.close()
                    bucket = resource.partition("/")[0]
                    if status == 404 and action == "s3:GetObject" and not gate.allows("s3:ListBucket", bucket):
                        status, headers, content = 403, {}, _ACCESS_DENIED  # S3 does not say what is not there
                else:
                    gate.refused.append((action, resource))
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in (*_HOP_BY_HOP, "content-length"):
                        self.send_header(name, value)
                length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
                self.send_header("content-length", length)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _carry  # as the server calls them

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> PolicyGate:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def allows(self, action: str, resource: str) -> bool:
        """Return whether the policy allows an action on `bucket` or `bucket/key`."""
        return any(
            statement["Effect"] == "Allow"
            and action in _listed(statement["Action"])
            and any(fnmatchcase(f"arn:aws:s3:::{resource}", pattern) for pattern in _listed(statement["Resource"]))
            for statement in self._policy["Statement"]
        )


def action_of(method: str, target: str) -> tuple[str, str]:
    """Return the action of S3 that a request is, and the bucket or object that it is about."""
    address = urlsplit(target)
    resource, query = unquote(address.path).strip("/"), parse_qs(address.query, keep_blank_values=True)
    if "/" not in resource:
        return ("s3:ListBucket" if method in ("GET", "HEAD") else "s3:DeleteObject", resource)
    if method == "DELETE":
        return ("s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject", resource)
    return ("s3:GetObject" if method in ("GET", "HEAD") else "s3:PutObject", resource)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


_ACCESS_DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
