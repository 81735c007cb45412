"""`main.py detect`: whether a recording is synthetic speech, and of this installation."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from core.errors import SovitsError
from core.marks.detect import RATE
from core.marks.detection_report import DetectionReport, examine
from core.marks.speech_marks import SpeechMarks
from core.media.decode import decode
from core.settings import Settings


def detect(options: argparse.Namespace, settings: Settings) -> int:
    """Print the marks of FILE; return 0 with one, 1 without any, 2 for a file that cannot be read."""
    path = Path(options.file)
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "recording.wav"
        try:
            decode(path, wav, sample_rate=RATE, mono=True)
        except (SovitsError, OSError) as error:
            print(error.sentences if isinstance(error, SovitsError) else f"{path}: {error.strerror}", file=sys.stderr)
            return 2
        report = examine(SpeechMarks(settings), path, wav)
    if options.json:
        print(json.dumps(_as_json(report)))
    elif not report.layers:
        print(f"{path}: no mark ({max(report.watermark.score, 0.0):.1f} σ)")
    else:
        whose = "of this installation" if report.own else f"by {report.shown_producer or 'somebody else'}"
        layers = ", ".join(_layer(report, name) for name in report.layers)
        print(f"{path}: synthetic speech {whose}: {layers}")
    return 0 if report.layers else 1


def _layer(report: DetectionReport, name: str) -> str:
    if name == "watermark":
        return f"mark {report.mark or 'unreadable'} ({report.watermark.score:.1f} σ)"
    if name == "aigc":
        return f"label of the request {report.request_id}"
    credentials = report.labels.credentials
    return f"Content Credentials ({credentials.state if credentials is not None else 'none'})"


def _as_json(report: DetectionReport) -> dict[str, object]:
    return {
        "synthetic": bool(report.layers),
        "own": report.own,
        "layers": report.layers,
        "mark_id": report.mark,
        "score": round(max(report.watermark.score, 0.0), 2),
        "producer": report.shown_producer or None,
        "request_id": report.request_id or None,
        "time": report.time.isoformat() if report.time is not None else None,
        "confidence": report.confidence,
    }
