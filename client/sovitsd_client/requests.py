"""Requests and the rules of repeating them, for both clients alike."""

from __future__ import annotations

import json
import logging
import os
import random
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import httpx

from sovitsd_client.errors import ApiError, ConnectionFailedError, SovitsdError
from sovitsd_client.records import Event

logger = logging.getLogger(__name__)

DEFAULT_URL: Final = "http://127.0.0.1:9880"
MAX_PAUSE_SECONDS: Final = 60.0
"""A server that asks for a longer pause gets no further attempt."""
FIRST_PAUSE_SECONDS: Final = 0.5
_SAFE_METHODS: Final = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS"))
_REJECTED_FOR_NOW: Final = frozenset((429, 502, 503))


@dataclass(frozen=True)
class Connection:
    """Where the server is, who asks, and how long and how often."""

    url: str
    api_key: str = field(repr=False)
    timeout: httpx.Timeout
    max_retries: int

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def address_of(self, path: str) -> str:
        """Return the URL of a path, or of an address of the server that one of its responses named.

        Raise SovitsdError for another server's, which the key must not reach.
        """
        if path.startswith("/"):
            return self.url + path
        server, named = httpx.URL(self.url), httpx.URL(path)
        if (named.scheme, named.netloc) != (server.scheme, server.netloc):
            raise SovitsdError(f"{path} is no path, and no address of {self.url}.")
        return path


def connection_to(url: str | None, api_key: str | None, timeout: float, max_retries: int) -> Connection:
    """Return the connection of a client; what is None comes from SOVITSD_URL and SOVITSD_API_KEY.

    Raise SovitsdError for an address that is none.
    """
    url = (url or os.environ.get("SOVITSD_URL") or DEFAULT_URL).rstrip("/")
    parsed = httpx.URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise SovitsdError(f"{url} is no address of a server. One is like https://voice.example.org or {DEFAULT_URL}.")
    key = os.environ.get("SOVITSD_API_KEY", "") if api_key is None else api_key
    # A stream may be silent between two heartbeats.
    return Connection(url, key, httpx.Timeout(30, read=timeout, write=timeout), max_retries)


def idempotency_headers(key: str = "") -> dict[str, str]:
    """Return the header by which the server recognises a request that comes again; without a key, with a new one."""
    return {"Idempotency-Key": key or uuid.uuid4().hex}


def log_warnings(response: httpx.Response) -> httpx.Response:
    """Log what the server says beside a response, such as a language that a voice does not speak, and return it."""
    if warning := response.headers.get("X-Warning"):
        logger.warning("%s", warning)
    return response


def may_repeat(request: httpx.Request) -> bool:
    """Return whether nothing can happen twice when a request is sent again."""
    return request.method in _SAFE_METHODS or "Idempotency-Key" in request.headers


def pause_after_error(request: httpx.Request, error: httpx.TransportError, attempt: int, retries: int) -> float:
    """Return the seconds before the next attempt; raise ConnectionFailedError where there is none."""
    not_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    if attempt >= retries or not (not_sent or may_repeat(request)):
        url = request.url.copy_with(query=None)
        reason = str(error) or type(error).__name__
        raise ConnectionFailedError(f"{url} does not answer: {reason}. Is the server running?") from error
    return _backoff(attempt)


def pause_after_rejection(request: httpx.Request, error: ApiError, attempt: int, retries: int) -> float:
    """Return the seconds before the next attempt; raise the error where there is none."""
    # Rejected with a time means: not begun. Without one it may be a proxy's, which does not know.
    repeatable = error.retry_after is not None or may_repeat(request)
    pause = _backoff(attempt) if error.retry_after is None else error.retry_after
    if attempt >= retries or error.status not in _REJECTED_FOR_NOW or not repeatable or pause > MAX_PAUSE_SECONDS:
        raise error
    return pause


def _backoff(attempt: int) -> float:
    """Return a pause that doubles with each attempt, varied so that clients do not come back all at once."""
    doubled: float = FIRST_PAUSE_SECONDS * 2**attempt
    return doubled * random.uniform(0.75, 1.25)


def path_of(template: str, *parts: str) -> str:
    """Return a path with its `{}` filled in; names may have any character."""
    return template.format(*(quote(part, safe="") for part in parts))


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that were given."""
    return {name: value for name, value in values.items() if value is not None}


def live_speech(text: str, voice: str, audio_format: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a request for speech that is sent at once; of `options`, what is not None."""
    return {"input": text, "voice": voice, "response_format": audio_format, **without_none(options)}


class EventParser:
    """Events of one `text/event-stream`, line by line."""

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        """Of the last complete event."""
        self._id = last_id
        self._name = ""
        self._data: list[str] = []

    def feed(self, line: str) -> Iterator[Event]:
        """Yield the event that a line completes."""
        field_name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field_name == "id":
            self._id = value
        elif field_name == "event":
            self._name = value
        elif field_name == "data":
            self._data.append(value)
        elif not line and self._data:
            self.last_id = self._id
            try:
                data = json.loads("\n".join(self._data))
            except ValueError:
                data = {"message": "\n".join(self._data)}
            yield Event(self._name or "message", data if isinstance(data, dict) else {"value": data}, self.last_id)
            self._name, self._data = "", []
