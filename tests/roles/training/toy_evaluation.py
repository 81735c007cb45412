"""In the place of the evaluation program: says what a test wrote beside the request, and makes the samples.

`script.json` has the measures of each voice by its name; `killed`: how many processes die of a voice before; `silent`:
those without a preview; `error` is reported in place of anything. `asked.jsonl` gets a line for each voice.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import soundfile

RECORDING = Path(__file__).resolve().parents[3] / "prompts" / "allison" / "recording.flac"
MEASURES = ("wer", "cer", "similarity", "dnsmos", "rtf", "f0_low", "f0_high", "repeated", "skipped")
TEXT = "We watched the sun go down."


def report(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def main(file: Path) -> int:
    request = json.loads(file.read_text())
    script = json.loads((file.parent / "script.json").read_text())
    if "error" in script:
        report("error", **script["error"])
        return 1
    for line in sys.stdin:
        voice = json.loads(line)
        name, log = voice["name"], file.parent / "asked.jsonl"
        with log.open("a") as lines:
            lines.write(json.dumps({**voice, "process": os.getpid()}) + "\n")
        times = sum(json.loads(line)["name"] == name for line in log.read_text().splitlines())
        if times <= script.get("killed", {}).get(name, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if voice["preview"] and name in script.get("silent", ()):
            report("no_preview", name=name, message="It says nothing.")
            continue
        if voice["sample"]:
            samples, rate = soundfile.read(RECORDING, frames=16_000 * 6, dtype="int16")
            soundfile.write(voice["sample"], samples, rate, format="wav", subtype="PCM_16")
        if voice["preview"]:
            report("preview", name=name, text=TEXT, seconds=6.0)
            continue
        report("sentence", voice=name, number=1, of=1)
        mean = dict.fromkeys(MEASURES) | script[name]
        rows = [{**mean, "text": text, "heard": text, "seconds": 1.0} for text in request.get("sentences", [TEXT])]
        report("voice", name=name, language="en", mean=mean, sentences=rows)
    report("done")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
