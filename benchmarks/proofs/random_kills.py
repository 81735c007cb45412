"""kill -9 of random processes of the daemon under load: nothing is lost, done twice, or called poison."""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.chaos.accounts import Accounts, kept_or_temporary
from benchmarks.chaos.load import MixedLoad
from benchmarks.chaos.service import Service
from benchmarks.proofs.report import write_proof

MAX_PAUSE_SECONDS: Final = 3.0


def main(arguments: list[str] | None = None) -> int:
    """Kill as often as requested and return 0 when everything adds up."""
    parser = argparse.ArgumentParser(prog="scripts/prove random-kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep the data here; a run that was interrupted goes on from it")
    options = parser.parse_args(arguments)
    with kept_or_temporary(options.folder, "prove-random-kills-") as folder:
        accounts = Accounts(folder)
        run_kills(folder / "data", accounts, options.kills, options.seed)
    figures = {
        "kills": options.kills,
        "killed": dict(accounts.faults),
        "minutes": round(accounts.seconds / 60, 1),
        "requests": dict(accounts.done),
        "problems": accounts.problems,
    }
    return write_proof("random-kills", figures, passed=not accounts.problems)


def run_kills(folder: Path, accounts: Accounts, kills: int, seed: int) -> None:
    """Kill until there were so many kills; the accounts then say what did not add up."""
    generator = random.Random(f"{seed}/{accounts.faults.total()}")
    with Service(folder) as service, MixedLoad(service, accounts) as load:
        while accounts.faults.total() < kills:
            started = time.monotonic()
            time.sleep(generator.uniform(0.2, MAX_PAUSE_SECONDS))
            if name := service.kill(generator=generator):
                killed_at = time.monotonic()
                # On a busy machine the next kill would else meet a daemon that still starts, or the same job again.
                service.wait_until_ready()
                now = time.monotonic()
                accounts.fault(name, now - started)
                progress = f"{accounts.faults.total()} of {kills}: {name}, ready after {now - killed_at:.1f} s"
                print(f"{progress}; {accounts.summary}", file=sys.stderr, flush=True)
        service.wait_until_ready()
        load.stop()
        for problem in load.audit():
            accounts.problem(problem)


if __name__ == "__main__":
    sys.exit(main())
