"""kill -9 of random processes of the daemon under load: nothing is lost, done twice, or called poison."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from benchmarks.chaos.load import MixedLoad
from benchmarks.chaos.service import Service
from benchmarks.proofs.report import write_proof

MAX_PAUSE_SECONDS: Final = 3.0


def main(arguments: list[str] | None = None) -> int:
    """Kill as often as requested and return 0 when everything adds up."""
    parser = argparse.ArgumentParser(prog="scripts/prove random-kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="prove-random-kills-", ignore_cleanup_errors=True) as folder:
        killed, load, problems = run_kills(Path(folder) / "data", options.kills, options.seed)
    figures = {"kills": options.kills, "killed": dict(killed), "requests": dict(load.done), "problems": problems}
    return write_proof("random-kills", figures, passed=not problems and killed.total() == options.kills)


def run_kills(folder: Path, kills: int, seed: int) -> tuple[Counter[str], MixedLoad, list[str]]:
    """Return what was killed how often, the load, and what did not add up."""
    generator, killed = random.Random(seed), Counter[str]()
    with Service(folder) as service, MixedLoad(service) as load:
        while killed.total() < kills:
            time.sleep(generator.uniform(0.2, MAX_PAUSE_SECONDS))
            if name := service.kill(generator=generator):
                killed[name] += 1
                print(f"{killed.total()} of {kills}: {name}", file=sys.stderr, flush=True)
                # On a busy machine the next kill would else meet a daemon that still starts, or the same job again.
                service.wait_until_ready()
        service.wait_until_ready()
        load.stop()
        problems = load.audit()
    return killed, load, problems


if __name__ == "__main__":
    sys.exit(main())
