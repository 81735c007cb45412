"""Kill at random what makes, sends and restores backups: `scripts/prove standby [--kills 50]`.

A writer stores files and records and notes each as soon as it is acknowledged, as the API does. Meanwhile the processes
that send changes, make backups and restore them are killed at random moments, and their connection to the bucket is
cut. At the end a restored site must have every note that is older than the recovery point, and each epoch of the fence
exactly one holder. Then two services take over from each other while both live and clients write to both; each switch
is killed in its middle (`benchmarks/chaos/site_switches.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from benchmarks.chaos.bucket_server import BucketServer
from benchmarks.chaos.fault_proxy import FaultProxy
from benchmarks.chaos.site_switches import prove_switches
from benchmarks.proofs.report import write_proof
from common.programs import bound_command
from core.errors import Conflict, StorageUnavailable
from core.records import NewFileRecord, Records, upgrade
from core.settings import REPOSITORY, Settings, read_settings
from core.storage import open_storage
from recovery.backup.changes import ChangeShipper
from recovery.backup.create import BackupMaker
from recovery.backup.local_state import LocalState
from recovery.backup.open_target import open_target
from recovery.backup.restore import RestoreOptions, Restorer
from recovery.backup.steps import StepLog
from recovery.standby.epochs import Epochs
from recovery.standby.site import SiteIdentity

RECOVERY_POINT_SECONDS: Final = 10.0
"""The goal: whatever was acknowledged so long before the end is in the target, though its sender was just killed."""
MAX_SECONDS: Final = 120.0
SHIP_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 2.0
"""How long a request of a part is repeated."""
RIVALS: Final = 4
PARTS: Final = ("write", "ship", "backup", "restore")
VICTIMS: Final = (*PARTS, "connection")
MAX_CUT_SECONDS: Final = 3.0


def main() -> int:
    """Run one part in a process of its own, or the whole proof."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--switches", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--target", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        run_part(options.part, options.folder, options.target)
        return 0
    with tempfile.TemporaryDirectory(prefix="sovitsd-proof-") as name:
        folder = Path(name)
        figures = prove(folder, options.kills, options.seed)
        figures |= prove_switches(folder, options.switches, options.seed)
    in_time = float(str(figures["recovery_point_seconds"])) <= RECOVERY_POINT_SECONDS
    wrong = ("lost", "epochs_with_two_holders", "switch_lost", "writers_at_once")
    return write_proof("standby", figures, passed=in_time and not any(figures[name] for name in wrong))


def prove(folder: Path, kills: int, seed: int) -> dict[str, object]:
    """Kill so many processes or connections; return what came of it."""
    with BucketServer() as server, FaultProxy.to(server.address) as network:
        url = server.new_bucket("backups")
        return prove_kills(folder, site(folder, url), network, kills, seed)


def prove_kills(folder: Path, settings: Settings, network: FaultProxy, kills: int, seed: int) -> dict[str, object]:
    """Kill what works on a site, whose connections go through a network that is cut; return what came of it."""
    target = network.through(settings.backup_url)
    upgrade(settings.resolved_database_url)
    BackupMaker(settings, open_target(settings.backup_url), StepLog(emit=lambda line: None), speak=False).run()
    generator = random.Random(seed)
    processes = {part: start(part, folder, target) for part in PARTS}
    twice = cuts = 0
    while not (folder / "notes").exists() or not (folder / "notes").read_text():
        time.sleep(0.1)
    for number in range(1, kills + 1):
        time.sleep(generator.uniform(0.5, 4.0))
        victim = generator.choice(VICTIMS)
        if victim == "connection":
            cuts += 1
            network.disconnect()
            time.sleep(generator.uniform(0.0, MAX_CUT_SECONDS))
            network.restore()
        else:
            processes[victim].send_signal(signal.SIGKILL)
            processes[victim].wait()
            processes[victim] = start(victim, folder, target)
        twice += holders(settings, number) != 1
    noted_until = time.time()
    while LocalState.of(settings).status().shipped_at <= noted_until and time.time() - noted_until < MAX_SECONDS:
        time.sleep(0.1)
    recovery_point = time.time() - noted_until
    for process in processes.values():
        process.kill()
        process.wait()
    restored = read_settings(data_path=folder / "last", backup_url=settings.backup_url)
    started = time.perf_counter()
    options = RestoreOptions(speak=False)
    Restorer(restored, open_target(settings.backup_url), StepLog(emit=lambda line: None), options).run("latest")
    seconds = time.perf_counter() - started
    present = asyncio.run(names(restored))
    notes = [line.split() for line in (folder / "notes").read_text().splitlines(keepends=True) if line.endswith("\n")]
    expected = {note[0] for note in notes if len(note) == 2 and float(note[1]) <= noted_until}
    return {
        "kills": kills - cuts,
        "cuts": cuts,
        "acknowledged": len(expected),
        "lost": sorted(expected - present),
        "recovery_point_seconds": round(recovery_point, 2),
        "restore_seconds": round(seconds, 2),
        "epochs": kills,
        "epochs_with_two_holders": twice,
    }


def holders(settings: Settings, number: int) -> int:
    """Let several sites claim an epoch at once; return how many succeeded."""

    def claim(rival: int) -> int:
        try:
            Epochs(open_target(settings.backup_url)).claim(number, SiteIdentity(site=f"site-{rival}", host="here"))
        except Conflict:
            return 0
        return 1

    with ThreadPoolExecutor(RIVALS) as pool:
        return sum(pool.map(claim, range(RIVALS)))


def run_part(part: str, folder: Path, target_url: str) -> None:
    """Do one thing again and again, until this process is killed."""
    settings, silent = site(folder, target_url), StepLog(emit=lambda line: None)
    target = open_target(target_url, retry_seconds=RETRY_SECONDS)
    if part == "write":
        asyncio.run(write(settings, folder / "notes"))
    while True:
        with suppress(StorageUnavailable):  # the connection was cut
            if part == "ship":
                ChangeShipper(settings, target).ship()
                time.sleep(SHIP_SECONDS)
            elif part == "backup":
                BackupMaker(settings, target, silent, speak=False).run()
            else:
                scratch = read_settings(data_path=folder / "standby", backup_url=target_url)
                Restorer(scratch, target, silent, RestoreOptions(speak=False, in_place=True)).run("latest")


async def write(settings: Settings, notes: Path) -> None:
    """Store files and records, and note each once it is acknowledged."""
    storage, records = open_storage(settings), Records.from_settings(settings)
    with notes.open("a", buffering=1) as log:
        while True:
            content = os.urandom(2000)
            name = f"file-{hashlib.sha256(content).hexdigest()[:20]}"
            storage.put_bytes(f"files/{name}", content)
            await records.files.create(
                NewFileRecord(
                    id=name,
                    filename=name,
                    purpose="training",
                    size_bytes=len(content),
                    sha256=hashlib.sha256(content).hexdigest(),
                    media_type="audio/wav",
                )
            )
            log.write(f"{name} {time.time()}\n")
            await asyncio.sleep(0.02)


async def names(settings: Settings) -> set[str]:
    """Return the ids of all files of a site that storage has."""
    storage, records = open_storage(settings), Records.from_settings(settings)
    ids: set[str] = set()
    cursor = ""
    while True:
        page = await records.files.page(500, cursor=cursor)
        ids |= {record.id for record in page.items if storage.exists(record.storage_key)}
        if not page.next_cursor:
            await records.close()
            return ids
        cursor = page.next_cursor


def site(folder: Path, target_url: str) -> Settings:
    """Return the settings of the main site."""
    return read_settings(data_path=folder / "main", backup_url=target_url)


def start(part: str, folder: Path, target_url: str) -> subprocess.Popen[bytes]:
    """Start a part in a process of its own."""
    options = ["--part", part, "--folder", str(folder), "--target", target_url]
    command = [sys.executable, "-m", "benchmarks.proofs.standby", *options]
    return subprocess.Popen(bound_command(command), cwd=REPOSITORY, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
