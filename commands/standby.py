"""`main.py standby`: watch the main site, take over from it, practise that, and give the service back."""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import asdict

import orjson
from sqlalchemy import select

from common.program_name import program_name
from core.errors import ConfirmationNeeded, InvalidRequest, SovitsError
from core.primary_lease import NotPrimary, PrimaryLease
from core.records.database import Database
from core.records.tables import record_changes
from core.settings import Settings
from recovery.backup.catalog import BackupCatalog
from recovery.backup.changes import read_sync_mark
from recovery.backup.local_state import LocalState
from recovery.backup.names import LATEST
from recovery.backup.open_target import open_target
from recovery.backup.restore import RestoreOptions, Restorer
from recovery.backup.signatures import BackupSigner
from recovery.backup.steps import StepLog
from recovery.standby.audit_chain import AuditChain
from recovery.standby.doctor import examine_standby
from recovery.standby.drill import run_drill
from recovery.standby.epochs import Epochs, LeaseRenewal
from recovery.standby.handover import Handover
from recovery.standby.local_service import LocalService
from recovery.standby.site import DrillReport, SiteIdentity, StandbyFolder, SwitchState, WatchState
from recovery.standby.switch import Switch
from recovery.standby.warm import WarmSite
from recovery.standby.watch import Watcher, prefetch


def run_standby_command(options: argparse.Namespace, settings: Settings) -> int:
    """Run one of the commands and return its exit code."""
    return _COMMANDS[options.standby_command](options, settings)


def _watch(options: argparse.Namespace, settings: Settings) -> int:
    main_url = options.main or settings.standby_main_url
    if not main_url:
        raise InvalidRequest("There is no main site to watch.", hint="Name it: --main URL, or STANDBY_MAIN_URL.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for library in ("httpx", "alembic"):
        logging.getLogger(library).setLevel(logging.WARNING)
    settings = settings.model_copy(update={"standby_automatic": options.automatic or settings.standby_automatic})
    Watcher(settings, main_url, StepLog(as_json=options.json)).run(rounds=options.rounds)
    return 0


def _switch(options: argparse.Namespace, settings: Settings) -> int:
    if not options.confirm:
        raise ConfirmationNeeded(
            "A switch ends the main site's part and starts the service here.",
            hint=f"If the main site is down: {program_name()} standby switch --confirm",
        )
    steps = StepLog(as_json=options.json)
    state = Switch(settings, steps, accept_difference=options.accept_difference).run()
    seconds = round(state.finished_at - state.started_at, 1)
    steps.result(
        {"switched": True, "seconds": seconds, "lost_seconds": state.lost_seconds, "backup": state.backup},
        f"This site is the primary one after {seconds:g} s; at most {state.lost_seconds:g} s of changes are lost.",
    )
    return 0


def _return(options: argparse.Namespace, settings: Settings) -> int:
    steps = StepLog(as_json=options.json)
    main_url = options.to or settings.standby_main_url
    state = Handover(settings, main_url, steps, accept_difference=options.accept_difference).run()
    seconds = round(state.finished_at - state.started_at, 1)
    steps.result(
        {"returned": True, "seconds": seconds, "backup": state.backup},
        f"{main_url} is the primary site again after {seconds:g} s; this one sleeps.",
    )
    return 0


def _drill(options: argparse.Namespace, settings: Settings) -> int:
    steps = StepLog(as_json=options.json)
    report = run_drill(settings, steps, speak=not options.without_speech)
    for problem in report.problems:
        steps.warn(problem)
    steps.result(report.model_dump(), f"The drill {'went well' if report.ok else 'FAILED'}: {report.seconds:g} s.")
    return 0 if report.ok else 1


def _status(options: argparse.Namespace, settings: Settings) -> int:
    output = StepLog(as_json=options.json)
    folder = StandbyFolder(settings.data_path)
    identity = SiteIdentity.of(settings.data_path)
    fields: dict[str, object] = {"site": identity.site, "host": identity.host, "role": _role(settings)}
    fields["public_key"] = BackupSigner.of(settings).public_key
    lines = [
        f"role       {fields['role']}",
        f"key        {fields['public_key']} (for BACKUP_PUBLIC_KEYS of the other site)",
    ]
    fields["serves"] = LocalService(settings).is_running()
    lines.append(f"service    {'runs' if fields['serves'] else 'does not run'}")
    if settings.backup_url:
        fields |= _backup_state(settings, lines)
    documents = (
        ("watch", folder.read(WatchState)),
        ("switch", folder.read(SwitchState)),
        ("drill", folder.read(DrillReport)),
    )
    for title, document in documents:
        fields[title] = None if document is None else document.model_dump()
        lines.append(f"{title:<10} {_shown(document)}")
    status = LocalState.of(settings).status()
    fields["own_backups"] = status.model_dump()
    entries = list(AuditChain(settings.data_path).entries())
    fields["audit_entries"] = len(entries)
    lines.append(f"audit      {len(entries)} entries, unbroken")
    output.result(fields, "\n".join(lines))
    return 0


def _backup_state(settings: Settings, lines: list[str]) -> dict[str, object]:
    fields: dict[str, object] = {}
    try:
        catalog = BackupCatalog(open_target(settings.backup_url), BackupSigner.of(settings))
        name = catalog.resolve(LATEST)
        mark = read_sync_mark(catalog, name)
        until = mark.at if mark is not None else catalog.read(name).created_at
        fields = {"backup": name, "complete_until": until, "rpo_seconds": round(time.time() - until, 1)}
        lines.append(f"backup     {name}, changes until {time.time() - until:.0f} s ago")
        if settings.fencing and (newest := Epochs.of(settings).newest()) is not None:
            fields["epoch"] = newest.model_dump()
            lines.append(f"epoch      {newest.number}, held by {newest.host}")
    except SovitsError as error:
        fields["backup_error"] = error.message
        lines.append(f"backup     {error.message}")
    return fields


def _role(settings: Settings) -> str:
    lease = PrimaryLease.of(settings)
    if lease is None:
        return "not fenced"
    try:
        lease.check()
    except NotPrimary as error:
        return f"not primary: {error.message}"
    return "primary"


def _shown(document: WatchState | SwitchState | DrillReport | None) -> str:
    if document is None:
        return "never"
    if isinstance(document, WatchState):
        if not document.checked_at:
            return f"not probed yet; fetched ahead: {document.prefetched or 'nothing'}"
        state = f"{document.failures} failures in a row: {document.last_error}" if document.failures else "it serves"
        return f"{document.main_url}: {state}; fetched ahead: {document.prefetched or 'nothing'}"
    if isinstance(document, SwitchState):
        if document.failed_step:
            return f"{document.kind} stopped at {document.failed_step}: {document.error}"
        return f"{document.kind}, {'finished' if document.finished_at else 'under way'}: {', '.join(document.done)}"
    days = (time.time() - document.at) / 86_400
    return f"{'good' if document.ok else 'FAILED'}, {days:.1f} days ago, {document.seconds:g} s"


def _doctor(options: argparse.Namespace, settings: Settings) -> int:
    output = StepLog(as_json=options.json)
    ok = True
    for finding in examine_standby(settings):
        ok = ok and finding.ok
        output.result(asdict(finding), f"{'ok  ' if finding.ok else 'BAD '} {finding.name:<20} {finding.detail}")
    return 0 if ok else 1


def _warm(options: argparse.Namespace, settings: Settings) -> int:
    steps = StepLog(as_json=options.json)
    marker = WarmSite(settings, steps).start()
    steps.result(
        {"warm": True, "backup": marker.backup, "complete_until": marker.complete_until},
        "The service runs and reads; it writes once this site is the primary one.",
    )
    return 0


def _prefetch(options: argparse.Namespace, settings: Settings) -> int:
    state = prefetch(settings)
    StepLog(as_json=options.json).result({"prefetched": state.prefetched}, f"{state.prefetched} is here.")
    return 0


def _changes(_options: argparse.Namespace, settings: Settings) -> int:
    async def read() -> list[tuple[str, str]]:
        database = Database(settings.resolved_database_url)
        try:
            async with database.read() as connection:
                rows = await connection.execute(select(record_changes).order_by(record_changes.c.number))
                return [(row.table_name, row.row_key) for row in rows]
        finally:
            await database.close()

    for table, key in asyncio.run(read()):
        print(orjson.dumps({"table": table, "key": orjson.loads(key)}).decode())
    return 0


def _take_back(options: argparse.Namespace, settings: Settings) -> int:
    steps = StepLog(as_json=options.json)
    LocalService(settings).stop()
    restore_options = RestoreOptions(in_place=True, accept_difference=options.accept_difference, speak=False)
    marker = Restorer(settings, open_target(settings.backup_url), steps, restore_options).run(options.name)
    if settings.fencing:
        LeaseRenewal(settings).pause(False)  # that it gave its records away once
    AuditChain(settings.data_path).append("take back", marker.backup)
    return 0


def _identity(_options: argparse.Namespace, settings: Settings) -> int:
    print(SiteIdentity.of(settings.data_path).model_dump_json())
    return 0


def _start(_options: argparse.Namespace, settings: Settings) -> int:
    print(LocalService(settings).start())
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace, Settings], int]] = {
    "watch": _watch,
    "switch": _switch,
    "return": _return,
    "drill": _drill,
    "status": _status,
    "doctor": _doctor,
    "warm": _warm,
    "prefetch": _prefetch,
    "changes": _changes,
    "take-back": _take_back,
    "identity": _identity,
    "start": _start,
}
