"""Who can reach the API: an address beyond this host without any key must be chosen, never happen."""

from __future__ import annotations

import ipaddress
import logging
import secrets

from core.errors import SovitsError
from core.records import Records
from core.settings import Settings

logger = logging.getLogger(__name__)


class OpenToNetwork(SovitsError):
    """The API would be reachable from the network without a key."""

    code = "open_to_network"


def is_loopback(host: str) -> bool:
    """Return whether only this host can reach an address that the API listens on."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:  # a name, which may stand for any address
        return False


async def has_recorded_key(settings: Settings) -> bool:
    """Return whether an API key was ever created; the database must have its tables."""
    records = Records.from_settings(settings)
    try:
        return bool(await records.api_keys.all())
    finally:
        await records.close()


def check_exposure(settings: Settings, *, has_key: bool) -> None:
    """Raise OpenToNetwork when other machines can reach the API and no key exists.

    With ALLOW_OPEN_ACCESS it is only a warning. `has_key`: whether the records hold a key, revoked or not.
    """
    if is_loopback(settings.host) or settings.valid_api_keys or settings.admin_api_keys or has_key:
        return
    if settings.allow_open_access:
        logger.warning(
            "HOST=%s: everybody who can reach this host can use the API, because no key exists and "
            "ALLOW_OPEN_ACCESS is on.",
            settings.host,
        )
        return
    raise OpenToNetwork(
        f"HOST={settings.host} lets other machines reach the API, and no key exists: everybody could use it.",
        hint="Put one of these lines into .env:\n\n"
        f"VALID_API_KEYS=sk-{secrets.token_urlsafe(32)}\n"
        "ALLOW_OPEN_ACCESS=true\n\n"
        "The first one makes callers send that key; the second one lets everybody in.",
    )
