"""The server that a command speaks to: the one of this data folder, or another (`--url`, SOVITSD_URL)."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sovitsd_client import ApiError, ConnectionFailedError, Sovitsd, SovitsdError, WaitTimeoutError

from common.hosts import http_url
from core.errors import NotReady, SovitsError, TimedOut
from core.settings import Settings


@contextmanager
def connected(options: argparse.Namespace, settings: Settings) -> Iterator[Sovitsd]:
    """Open a client; what the server rejects becomes a SovitsError with the server's own words."""
    url = options.url or os.environ.get("SOVITSD_URL") or ""
    key = options.api_key or os.environ.get("SOVITSD_API_KEY") or ""
    if not url:  # a key of this host's settings must not go elsewhere
        key = key or next(iter((*settings.admin_api_keys, *settings.valid_api_keys)), "")
    try:
        with Sovitsd(url or api_url(settings), key, timeout=settings.synthesis_timeout_seconds) as client:
            yield client
    except ApiError as error:
        raise SovitsError(f"The API refused ({error.status}): {error.message}", hint=error.hint) from None
    except ConnectionFailedError as error:
        raise NotReady(str(error)) from None
    except WaitTimeoutError as error:
        raise TimedOut(str(error)) from None
    except SovitsdError as error:
        raise SovitsError(str(error)) from None


def api_url(settings: Settings) -> str:
    """Return the URL that the API of this data folder announced, or else that of the settings."""
    try:
        announcement = json.loads((settings.data_path / "run" / "api.json").read_bytes())
    except (OSError, ValueError):
        return http_url(settings.host, settings.port)
    return str(announcement["url"]).rstrip("/")
