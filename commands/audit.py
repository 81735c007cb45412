"""`main.py audit`: show the audit log, also without a running daemon."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from dataclasses import asdict
from typing import IO, Final

import orjson

from common.control_characters import escape_control_characters
from core.audit import AuditEntry, AuditFilter, AuditLog, parse_entry
from core.settings import Settings

POLL_SECONDS: Final = 0.2


def run_audit_command(options: argparse.Namespace, settings: Settings) -> int:
    """Print the newest entries that match, the oldest of them first, and follow the log when requested."""
    log = AuditLog.of(settings)
    entry_filter = AuditFilter(
        caller=options.caller,
        address=options.address,
        method=options.method,
        path=options.path,
        request_id=options.request,
        result=options.result,
        status=options.status,
    )
    position = _open_at_end(log) if options.follow else None
    for entry in reversed(list(itertools.islice(log.entries(entry_filter), options.lines))):
        _print(entry, options.json)
    if position is not None:
        _follow(log, position, entry_filter, options.json)
    return 0


def _follow(log: AuditLog, file: IO[bytes] | None, entry_filter: AuditFilter, as_json: bool) -> None:
    """Print new entries until SIGINT, also after the log was rotated."""
    try:
        while True:
            newest = _newer_file(log, file)  # looked for first: then the older file is read to its end
            for line in iter(file.readline, b"") if file is not None else ():
                if not line.endswith(b"\n"):
                    assert file is not None
                    file.seek(-len(line), os.SEEK_CUR)  # the rest is being written
                    break
                entry = parse_entry(line)
                if entry is not None and entry_filter.matches(entry):
                    _print(entry, as_json)
            if newest is not None:
                file = newest
            else:
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return


def _newer_file(log: AuditLog, file: IO[bytes] | None) -> IO[bytes] | None:
    """Return the log if it is another file than this one; None also between the two steps of a rotation."""
    try:
        newest = log.path.open("rb")
    except FileNotFoundError:
        return None
    if file is None or not os.path.sameopenfile(newest.fileno(), file.fileno()):
        return newest
    newest.close()
    return None


def _open_at_end(log: AuditLog) -> IO[bytes] | None:
    try:
        file = log.path.open("rb")
    except FileNotFoundError:
        return None
    file.seek(0, os.SEEK_END)
    return file


def _print(entry: AuditEntry, as_json: bool) -> None:
    if as_json:
        line = orjson.dumps(asdict(entry)).decode()
    else:
        who = entry.caller or "-"
        line = (
            f"{entry.time}  {entry.result:<8}  {entry.status}  {entry.method:<6}  {entry.path}  {who}  {entry.address}"
        )
        line = escape_control_characters(f"{line}  {entry.request_id}")
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
