"""`main.py keys`: make, list and revoke API keys; also without a running daemon."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable

from core.errors import NotFound
from core.records import Records, upgrade
from core.settings import Settings


def run_keys_command(options: argparse.Namespace, settings: Settings) -> int:
    """Run one of the commands below and return its exit code."""
    upgrade(settings.resolved_database_url)

    async def run() -> int:
        records = Records(settings.resolved_database_url)
        try:
            return await KEY_COMMANDS[options.keys_command](records, options)
        finally:
            await records.close()

    return asyncio.run(run())


async def create_key(records: Records, options: argparse.Namespace) -> int:
    """Create a key and print nothing else to stdout, so that a script can read it."""
    _, key = await records.api_keys.create(options.name, admin=options.admin)
    print(key)
    print("Keep it: it is not shown again. From now on every request needs a key.", file=sys.stderr)
    return 0


async def list_keys(records: Records, _options: argparse.Namespace) -> int:
    """Print one line per key, without its secret."""
    for key in await records.api_keys.all():
        status = "revoked" if key.revoked_at else "admin" if key.admin else "valid"
        print(f"{key.id}  {key.shown}…  {status:<8}{key.name}")
    return 0


async def revoke_key(records: Records, options: argparse.Namespace) -> int:
    """Revoke the keys of a name, or the key of an id; raise NotFound when there is none."""
    count = await records.api_keys.revoke(options.key)
    if not count:
        raise NotFound(f"No valid key has the name or id {options.key!r}.")
    print(f"Revoked {count} key{'s' if count > 1 else ''}.")
    return 0


KEY_COMMANDS: dict[str, Callable[[Records, argparse.Namespace], Awaitable[int]]] = {
    "create": create_key,
    "list": list_keys,
    "revoke": revoke_key,
}
