"""Switches between two sites that both live, a part of `scripts/prove standby`: each is killed in its middle, and every
other time the site that is replaced cannot reach the bucket, so that it cannot know.
"""

from __future__ import annotations

import math
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.chaos.bucket_server import BucketServer
from benchmarks.chaos.fenced_sites import AcknowledgedFile, FencedSite, wait_until
from common.programs import product_command
from recovery.backup.create import BackupMaker
from recovery.backup.local_state import LocalState
from recovery.backup.open_target import open_target
from recovery.backup.restore import RestoreOptions, Restorer
from recovery.backup.signatures import BackupSigner
from recovery.backup.steps import StepLog
from recovery.standby.site import StandbyFolder, SwitchState

NAMES: Final = ("first", "second")
STEPS: Final = 12
"""Lines of a switch after one of which it is killed."""


def prove_switches(folder: Path, switches: int, seed: int) -> dict[str, object]:
    """Switch to and fro so many times; return what came of it."""
    generator = random.Random(seed)
    with BucketServer() as server:
        url = server.new_bucket("sites")
        keys = tuple(BackupSigner(folder / name).public_key for name in NAMES)
        sites = [FencedSite(folder / name, url, keys) for name in NAMES]
        try:
            primary, standby = sites
            _prepare(primary, standby)
            seconds, sent_until = [], []
            for number in range(switches):
                wait_until(partial(_has_sent, primary, time.time()), "changes to be sent")
                sent_until.append(_sent_until(primary))
                seconds.append(_switch(primary, standby, generator, cut=number % 2 == 0))
                primary, standby = standby, primary
            for site in sites:
                site.stop_client()
            present = primary.file_names()
        finally:
            for site in sites:
                site.close()
    acknowledged = sorted((file for site in sites for file in site.acknowledged), key=lambda file: file.written_at)
    return {
        "switches": switches,
        "switch_seconds": [round(value, 1) for value in seconds],
        "switch_acknowledged": len(acknowledged),
        "switch_lost": lost(acknowledged, present, sent_until),
        "writers_at_once": len(reigns(acknowledged)) - 1 - switches,
    }


def reigns(acknowledged: Sequence[AcknowledgedFile]) -> list[list[AcknowledgedFile]]:
    """Divide what was acknowledged, in the order of time, where another site goes on: once for each switch."""
    parts: list[list[AcknowledgedFile]] = []
    for file in acknowledged:
        if not parts or parts[-1][-1].site != file.site:
            parts.append([])
        parts[-1].append(file)
    return parts


def lost(acknowledged: Sequence[AcknowledgedFile], present: set[str], sent_until: Sequence[float]) -> list[str]:
    """Return files that are gone although they were acknowledged before the changes were sent, or by the last site."""
    return [
        file.name
        for part, limit in zip(reigns(acknowledged), (*sent_until, math.inf), strict=False)
        for file in part
        if file.name not in present and file.acknowledged_at < limit
    ]


def _prepare(primary: FencedSite, standby: FencedSite) -> None:
    """Start the primary site, back it up, and start the standby with its records."""
    silent = StepLog(emit=lambda line: None)
    primary.start()
    wait_until(lambda: len(primary.acknowledged) > 0, "the first upload")
    BackupMaker(primary.settings, open_target(primary.settings.backup_url), silent, speak=False).run()
    target = open_target(standby.settings.backup_url)
    Restorer(standby.settings, target, silent, RestoreOptions(speak=False)).run("latest")
    standby.start()


def _has_sent(site: FencedSite, at: float) -> bool:
    return _sent_until(site) > at


def _sent_until(site: FencedSite) -> float:
    """Return when all that had changed was last in the bucket."""
    return LocalState.of(site.settings).status().shipped_at


def _switch(primary: FencedSite, standby: FencedSite, generator: random.Random, *, cut: bool) -> float:
    """Switch to the standby by a command that is killed in its middle and run again; return the seconds of all."""
    started, begun_at = time.monotonic(), time.time()
    if cut:
        primary.network.disconnect()
    try:
        command = _start_switch(standby)
        assert command.stdout is not None
        for _ in range(generator.randrange(STEPS)):
            command.stdout.readline()
        time.sleep(generator.uniform(0, 0.5))
        command.send_signal(signal.SIGKILL)
        command.communicate()
        state = StandbyFolder(standby.folder).read(SwitchState)
        if state is None or state.kind != "switch" or state.finished_at < begun_at:
            again = _start_switch(standby)
            output, errors = again.communicate()
            if again.returncode != 0:
                raise RuntimeError(f"The switch to {standby.name} failed: {output}{errors}")
        seconds = time.monotonic() - started
        count = len(standby.acknowledged)
        wait_until(lambda: len(standby.acknowledged) > count, f"a write to {standby.name}")
    finally:
        primary.network.restore()
    return seconds


def _start_switch(site: FencedSite) -> subprocess.Popen[str]:
    return subprocess.Popen(
        product_command("standby", "switch", "--confirm", "--json"),
        env=site.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
