"""The real speaker: decoded, transcribed by speech recognition, and part of it held back for good."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import av
import numpy as np

from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.dataset.transcribe import Transcriber
from GPT_SoVITS.features.whisper_model import model_folder
from scripts.train_base.sources import REAL, unpack

logger = logging.getLogger(__name__)

RATE = 16_000
SECONDS = (1.0, 15.0)
HELD_BACK = 0.5
"""Part of the clips that no training sees; the bundled recording and the prompt are always among them."""
SPEAKER = "allison"


def gather_real(work: Path, bundled: set[str]) -> Path:
    """`<work>/real/` and `<work>/held/`: WAV files and `texts.jsonl`; `bundled` clips, by name, are held back."""
    real, held = work / "real", work / "held"
    if (held / "texts.jsonl").exists():
        return real
    transcriber = Transcriber(model_folder(work / "models"), threads=1)
    lines: dict[Path, list[str]] = {real: [], held: []}
    for source in sorted(unpack(REAL, work).rglob("*.g722")):
        samples = _decode(source)
        if not SECONDS[0] <= len(samples) / RATE <= SECONDS[1]:
            continue
        back = source.stem in bundled or _share(source.stem) < HELD_BACK
        folder = held if back else real
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{source.stem}-{SPEAKER}.wav"
        write_wav(file, samples, RATE)
        transcript = transcriber.transcribe(file, "en")
        if len(transcript.text.split()) >= 2:
            lines[folder].append(json.dumps({"file": str(file), "speaker": SPEAKER, "text": transcript.text}) + "\n")
    for folder, texts in lines.items():
        (folder / "texts.jsonl").write_text("".join(texts), encoding="utf-8")
        logger.info("%d clips in %s.", len(texts), folder.name)
    return real


def _decode(source: Path) -> np.ndarray:
    with av.open(str(source)) as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return np.concatenate(frames).astype(np.float32) / 32768


def _share(name: str) -> float:
    """Return a number in [0, 1) that belongs to a name."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32
