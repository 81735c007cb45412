"""`bench daemon`: peak memory of the daemon's processes with a nano voice loaded, and the time the demo takes.

The voice has random weights: they weigh the same as trained ones.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np

from benchmarks.report import Row, report
from common.programs import bound_command
from core.records import NewCheckpointRecord, NewVoiceRecord, Records
from core.storage import Storage
from scripts.demo_daemon import REPOSITORY, Daemon

GOALS_MIB = {"synthesizer": 450.0, "api": 120.0, "supervisor": 120.0}
DEMO_GOAL_SECONDS = 600.0
SETTLE_SECONDS = 2.0


def main(arguments: list[str] | None = None) -> None:
    """Print the table; `--json FILE` writes it, `--with-demo` also runs the whole demo."""
    parser = argparse.ArgumentParser(prog="scripts/bench daemon", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--with-demo", action="store_true", help="run the demo, too (minutes)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure_memory(Path(folder))
        if options.with_demo:
            rows.append(measure_demo(Path(folder)))
    report("daemon", rows, options.json)


def measure_memory(folder: Path) -> list[Row]:
    """Peak resident MiB of each process after a voice has spoken; a ratio above 1 is below the goal."""
    with Daemon(folder / "data", folder / "daemon.log") as daemon:
        asyncio.run(publish_random_voice(daemon.data))
        request = {"model": "nano", "voice": "random", "input": "This is how much it weighs.", "response_format": "wav"}
        httpx.post(f"{daemon.url}/v1/audio/speech", json=request, timeout=120).raise_for_status()
        time.sleep(SETTLE_SECONDS)  # the watcher looks twice a second
        _, peak = daemon.memory()
    return [
        Row(f"peak memory of the {name}", "MiB", ours=peak[name], peer="goal", theirs=goal, ratio=goal / peak[name])
        for name, goal in GOALS_MIB.items()
    ]


def measure_demo(folder: Path) -> Row:
    """Run the whole demo, from the recording to the report."""
    started = time.monotonic()
    command = bound_command([sys.executable, "main.py", "demo", "--output", str(folder / "demo")])
    subprocess.run(command, cwd=REPOSITORY, check=True)
    seconds = time.monotonic() - started
    return Row("the demo", "s", ours=seconds, peer="goal", theirs=DEMO_GOAL_SECONDS, ratio=DEMO_GOAL_SECONDS / seconds)


async def publish_random_voice(data: Path) -> None:
    """Create a voice named `random` in the records and the storage of a daemon on this folder."""
    from GPT_SoVITS.audio import write_wav
    from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
    from GPT_SoVITS.checkpoints.checkpoint_files import save_checkpoint
    from GPT_SoVITS.configs import load_config
    from GPT_SoVITS.gpt.model import Text2Semantic
    from GPT_SoVITS.sovits.model import SoVITS

    storage, records = Storage(data / "storage"), Records(f"sqlite+aiosqlite:///{data / 'sovitsd.sqlite3'}")
    gpt, sovits = load_config("nano_gpt"), load_config("nano")
    states = {
        "gpt": (gpt, Text2Semantic.from_config(gpt).state_dict()),
        "sovits": (sovits, SoVITS.from_config(sovits).voice_state()),
    }
    for kind, (config, state) in states.items():
        path = storage.folder("checkpoints") / f"ckpt-{kind}.safetensors"
        save_checkpoint(path, Checkpoint(kind=kind, version="nano", config=config, state=state, info={}))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        await records.checkpoints.create(
            NewCheckpointRecord(
                id=f"ckpt-{kind}", kind=kind, version="nano", sha256=digest, size_bytes=path.stat().st_size
            )
        )
    storage.folder("voices/voice-random")
    write_wav(storage.path("voices/voice-random/prompt.wav"), np.zeros(48_000, np.float32), 16_000)
    await records.voices.create(
        NewVoiceRecord(
            name="random",
            version="nano",
            language="en",
            gpt_checkpoint_id="ckpt-gpt",
            sovits_checkpoint_id="ckpt-sovits",
            prompts=[
                {
                    "name": "default",
                    "audio": "voices/voice-random/prompt.wav",
                    "text": "Good morning.",
                    "language": "en",
                    "tokens": list(range(40)),
                }
            ],
        )
    )
    await records.close()


if __name__ == "__main__":
    main()
