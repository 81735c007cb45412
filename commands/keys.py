"""`main.py keys`: create, list and revoke API keys; also without a running daemon."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import astuple
from datetime import datetime
from typing import Final

from commands.terminal import print_json
from common.program_name import program_name
from core.access import USER_SCOPES, Quota, parse_scopes
from core.errors import Conflict, InvalidRequest, NotFound
from core.records import ConsentSource, NewConsentRecord, Records, iso, upgrade
from core.settings import Settings

_UNIT_SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400}
Command = Callable[[Records, argparse.Namespace, Settings], Awaitable[int]]


def run_keys_command(options: argparse.Namespace, settings: Settings) -> int:
    """Run one of the commands below and return its exit code."""
    upgrade(settings.resolved_database_url)

    async def run() -> int:
        records = Records.from_settings(settings)
        try:
            return await KEY_COMMANDS[options.keys_command](records, options, settings)
        finally:
            await records.close()

    return asyncio.run(run())


async def create_key(records: Records, options: argparse.Namespace, _settings: Settings) -> int:
    """Create a key and print nothing else to stdout, so that a script can read it."""
    if options.if_none and await records.api_keys.all():
        if options.json:
            print_json({"key": None})
        return 0
    try:
        scopes = parse_scopes(options.scopes.replace(",", " ").split()) if options.scopes.strip() else USER_SCOPES
    except ValueError as error:
        raise InvalidRequest(str(error)) from None
    quota = Quota(options.quota_jobs, options.quota_bytes, options.quota_characters, options.quota_requests)
    if any(limit is not None and limit < 1 for limit in astuple(quota)):
        raise InvalidRequest("A quota is a number above 0.", hint="Leave it out for no limit.")
    record, key = await records.api_keys.create(
        options.name,
        owner=options.owner.strip(),
        scopes=scopes,
        admin=options.admin,
        expires_at=parse_expiry(options.expires, time.time()),
        quota=quota,
    )
    consent = options.consent.strip()
    if consent:
        await records.consents.create(
            NewConsentRecord(
                speaker=record.owner,
                statement=consent,
                source=ConsentSource.OWNER,
                name=record.name,
                owner=record.owner,
            )
        )
    if options.json:
        facts = {"id": record.id, "name": record.name, "owner": record.owner, "scopes": list(record.scopes)}
        print_json({**facts, "key": key, "expires_at": iso(record.expires_at)})
        return 0
    print(key)
    notes = [f"Its scopes: {', '.join(record.scopes)}; its owner: {record.owner}."]
    if record.expires_at is not None:
        notes.append(f"It expires at {iso(record.expires_at)}.")
    if consent:
        notes.append("Its consent counts for all voices of its owner.")
    notes.append("Keep it: it is not shown again. From now on every request needs a key.")
    print(" ".join(notes), file=sys.stderr)
    return 0


async def list_keys(records: Records, options: argparse.Namespace, _settings: Settings) -> int:
    """Print one line per key, without its secret."""
    if options.json:
        now = time.time()
        print_json(
            [
                {
                    "id": key.id,
                    "shown": key.shown,
                    "name": key.name,
                    "owner": key.owner,
                    "scopes": list(key.scopes),
                    "status": key.status(now),
                    "expires_at": iso(key.expires_at),
                }
                for key in await records.api_keys.all()
            ]
        )
        return 0
    for key in await records.api_keys.all():
        expiry = f"  until {iso(key.expires_at)}" if key.expires_at is not None else ""
        scopes = ",".join(key.scopes)
        print(f"{key.id}  {key.shown}…  {key.status(time.time()):<8}{key.name}  ({key.owner}: {scopes}){expiry}")
    return 0


async def revoke_key(records: Records, options: argparse.Namespace, settings: Settings) -> int:
    """Revoke the keys of a name, or the key of an id; raise NotFound when there is none."""
    count = await records.api_keys.revoke(options.key)
    if not count:
        raise NotFound(f"No valid key has the name or id {options.key!r}.")
    if options.json:
        print_json({"revoked": count})
    else:
        print(f"Revoked {count} key{'s' if count > 1 else ''}.")
    if not await _usable_keys(records, settings):
        print(f"No valid key is left, so every request is rejected; see `{program_name()} keys open`.", file=sys.stderr)
    return 0


async def open_server(records: Records, options: argparse.Namespace, settings: Settings) -> int:
    """Say how callers are let in without a key again, or with `--yes` do it; raise Conflict while there is a key."""
    usable = await _usable_keys(records, settings)
    if usable:
        raise Conflict(
            f"Keys are in use: {', '.join(usable)}.",
            hint=f"Revoke them with `{program_name()} keys revoke`, and empty VALID_API_KEYS and ADMIN_API_KEYS.",
        )
    revoked = len(await records.api_keys.all())
    if options.json:
        if revoked and options.yes:
            await records.api_keys.forget_unusable()
        print_json({"unusable_keys": revoked, "open": not revoked or options.yes})
        return 0
    if not revoked:
        print("No key was ever created: requests need none.")
    elif options.yes:
        await records.api_keys.forget_unusable()
        print("The revoked keys are forgotten. Within 5 seconds, requests need no key.")
    else:
        print(
            f"All {revoked} keys are revoked or expired, so every request is rejected.\n"
            f"To create a new key:                  {program_name()} keys create NAME --admin\n"
            f"To let everybody in without a key:    {program_name()} keys open --yes"
        )
    return 0


def parse_expiry(text: str, now: float) -> float | None:
    """Return the time that `30d`, `12h`, `15m` or an ISO date means, in seconds since the epoch; None for no text."""
    text = text.strip()
    if not text:
        return None
    if match := re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text):
        return now + int(match[1]) * _UNIT_SECONDS[match[2]]
    try:
        moment = datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise InvalidRequest(
            f"--expires is {text!r}.", hint="Give a time from now (30d, 12h, 15m) or a date (2027-01-31)."
        ) from None
    if moment <= now:
        raise InvalidRequest(f"--expires is {text!r}, which has passed.")
    return moment


async def _usable_keys(records: Records, settings: Settings) -> list[str]:
    """Return the names of the keys that let callers in."""
    now = time.time()
    names = [key.name for key in await records.api_keys.all() if key.status(now) in ("valid", "admin")]
    names += ["VALID_API_KEYS"] * bool(settings.valid_api_keys)
    return names + ["ADMIN_API_KEYS"] * bool(settings.admin_api_keys)


KEY_COMMANDS: dict[str, Command] = {
    "create": create_key,
    "list": list_keys,
    "revoke": revoke_key,
    "open": open_server,
}
