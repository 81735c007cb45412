"""A drill: restore, registry, start and a spoken sentence in a scratch folder, apart from DNS and the main site."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from typing import Final

from common.programs import product_command
from core.errors import SovitsError
from core.process import start_child, stop_group
from core.settings import Settings
from recovery.backup.names import LATEST
from recovery.backup.open_target import open_target
from recovery.backup.restore import KEY_FILES, RestoreOptions, Restorer
from recovery.backup.steps import StepLog
from recovery.standby.audit_chain import AuditChain
from recovery.standby.local_service import LocalService
from recovery.standby.probe import SiteProbe
from recovery.standby.site import DrillReport, StandbyFolder
from recovery.standby.switch import READY_SECONDS, SENTENCE, wait_for

MAX_BACKUP_HOURS: Final = 26.0
RESTORE_LIMIT_SECONDS: Final = 300.0
TOTAL_LIMIT_SECONDS: Final = 600.0
STOP_SECONDS: Final = 60.0


def run_drill(settings: Settings, steps: StepLog, *, speak: bool = True) -> DrillReport:
    """Hold a drill and keep its report; what is wrong is in it, and nothing is raised."""
    started = time.perf_counter()
    report = DrillReport(at=time.time(), ok=False, backup="", backup_age_hours=0.0, seconds=0.0, steps={}, problems=[])
    folder = StandbyFolder(settings.data_path)
    folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = tempfile.mkdtemp(prefix="drill-", dir=folder.path)
    try:
        _drill(settings.model_copy(update=_scratch_settings(settings, scratch)), settings, steps, report, speak=speak)
    except SovitsError as error:
        report.problems.append(error.message)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    report.seconds = round(time.perf_counter() - started, 1)
    for step in steps.steps:
        report.steps[step.name] = step.seconds
    restore_seconds = sum(report.steps.get(name, 0.0) for name in ("manifest", "files", "records"))
    if restore_seconds > RESTORE_LIMIT_SECONDS:
        report.problems.append(f"the restore took {restore_seconds:.0f} s, more than {RESTORE_LIMIT_SECONDS:.0f}")
    if report.seconds > TOTAL_LIMIT_SECONDS:
        report.problems.append(f"the drill took {report.seconds:.0f} s, more than {TOTAL_LIMIT_SECONDS:.0f}")
    if report.backup_age_hours > MAX_BACKUP_HOURS:
        report.problems.append(f"the newest backup is {report.backup_age_hours:.1f} hours old")
    report.ok = not report.problems
    folder.write(report)
    result = "; ".join(report.problems) or f"{report.backup} in {report.seconds:g} s"
    AuditChain(settings.data_path).append("drill", result, "done" if report.ok else "failed")
    return report


def _drill(scratch: Settings, settings: Settings, steps: StepLog, report: DrillReport, *, speak: bool) -> None:
    _borrow_keys(settings, scratch)
    restorer = Restorer(scratch, open_target(settings.backup_url), steps, RestoreOptions(speak=speak))
    marker = restorer.run(LATEST)
    report.backup = marker.backup
    report.backup_age_hours = round((time.time() - marker.created_at) / 3600, 2)
    if not speak:
        return
    environment = {
        **os.environ,
        "DATA_PATH": str(scratch.data_path),
        "PORT": "0",
        "HOST": "127.0.0.1",
        "BACKUP_URL": "",
        "FENCING": "off",
        "DEPLOYMENT_MODE": "local",
    }
    with (scratch.data_path / "serve.log").open("wb") as log:
        with steps.step("start"):
            command = product_command("serve")
            process = start_child(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
            url = LocalService(scratch).url()
        try:
            probe = SiteProbe(scratch, url)
            with steps.step("ready") as step:
                wait_for(probe.ready, READY_SECONDS)
                step.detail = url
            with steps.step("speak") as step:
                step.detail = f"{probe.speak(SENTENCE):,} bytes of speech"
        finally:
            stop_group(process, grace_seconds=STOP_SECONDS)


def _scratch_settings(settings: Settings, scratch: str) -> dict[str, object]:
    """Return what differs in a drill: its own folder, SQLite, no bucket."""
    return {
        "data_path": type(settings.data_path)(scratch),
        "deployment_mode": "local",
        "storage_url": "",
        "database_url": "",
        "sqlite_path": None,
        "local_storage_path": None,
        "fencing": False,
    }


def _borrow_keys(settings: Settings, scratch: Settings) -> None:
    """Let a drill use the keys that lie in this site's data folder."""
    for name in KEY_FILES:
        if (path := settings.data_path / name).is_file():
            shutil.copy2(path, scratch.data_path / name)
