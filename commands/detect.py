"""`main.py detect`: whether a recording was spoken by this installation."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from core.errors import SovitsError
from core.marks.detect import RATE
from core.marks.speech_marks import SpeechMarks, format_mark
from core.media.decode import decode
from core.media.encode import read_wav
from core.settings import Settings


def detect(options: argparse.Namespace, settings: Settings) -> int:
    """Print what was found in FILE; return 0 with a mark, 1 without one, 2 for a file that cannot be read."""
    path = Path(options.file)
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "recording.wav"
        try:
            decode(path, wav, sample_rate=RATE, mono=True)
        except (SovitsError, OSError) as error:
            print(error.sentences if isinstance(error, SovitsError) else f"{path}: {error.strerror}", file=sys.stderr)
            return 2
        detection = SpeechMarks(settings).detect(*read_wav(wav))
    mark = None if detection.payload is None else format_mark(detection.payload)
    if options.json:
        print(json.dumps({"synthetic": detection.found, "mark_id": mark, "score": round(max(detection.score, 0.0), 2)}))
    elif detection.found:
        print(f"{path}: synthetic speech of this installation, mark {mark or 'unreadable'} ({detection.score:.1f} σ)")
    else:
        print(f"{path}: no mark of this installation ({max(detection.score, 0.0):.1f} σ)")
    return 0 if detection.found else 1
