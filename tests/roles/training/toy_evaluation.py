"""In the place of the evaluation program: says what a test wrote beside the request, and makes the samples."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import soundfile

RECORDING = Path(__file__).resolve().parents[3] / "prompts" / "allison" / "recording.flac"
MEASURES = ("wer", "cer", "similarity", "dnsmos", "rtf", "f0_low", "f0_high", "repeated", "skipped")


def main(file: Path) -> int:
    request = json.loads(file.read_text())
    script = json.loads((file.parent / "script.json").read_text())
    if "error" in script:
        print(json.dumps({"event": "error", **script["error"]}))
        return 1
    for voice in request["voices"]:
        print(json.dumps({"event": "sentence", "voice": voice["name"], "number": 1, "of": 1, "fraction": 0.5}))
        mean = dict.fromkeys(MEASURES) | script[voice["name"]]
        rows = [{**mean, "text": text, "heard": text, "seconds": 1.0} for text in request.get("sentences", [])]
        if voice["sample"]:
            samples, rate = soundfile.read(RECORDING, frames=16_000 * 6, dtype="int16")
            soundfile.write(voice["sample"], samples, rate, format="wav", subtype="PCM_16")
        print(json.dumps({"event": "voice", "name": voice["name"], "language": "en", "mean": mean, "sentences": rows}))
    print(json.dumps({"event": "done"}))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
