"""Tell people: the log, a signed webhook, mail through a command."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Final

import httpx
import orjson

from common.operating_system import host_name
from core.errors import SovitsError
from core.settings import Settings
from core.signing import signature_headers
from recovery.standby.hooks import run_hook

logger = logging.getLogger(__name__)

SECONDS: Final = 10.0


def notify(settings: Settings, event: str, message: str, **details: object) -> list[str]:
    """Send a message by every way that is set up; return what did not work."""
    logger.warning("%s: %s", event, message)
    problems = []
    if settings.standby_notify_url:
        document = {"event": event, "message": message, "host": host_name(), "at": time.time(), **details}
        body = orjson.dumps(document)
        secret = settings.webhook_secret.get_secret_value()
        headers = signature_headers(secret, f"msg_{secrets.token_hex(12)}", int(time.time()), body)
        try:
            response = httpx.post(
                settings.standby_notify_url,
                content=body,
                headers={"content-type": "application/json", **headers},
                timeout=SECONDS,
            )
            response.raise_for_status()
        except httpx.HTTPError as error:
            problems.append(f"the webhook did not take {event}: {error}")
    if settings.standby_mail_command:
        try:
            run_hook("STANDBY_MAIL_COMMAND", settings.standby_mail_command, event=event, message=message)
        except SovitsError as error:
            problems.append(error.message)
    for problem in problems:
        logger.error("%s", problem)
    return problems
