"""Which of the teacher's clips say what they should, by a recognizer: a training on the others learns wrong words."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Final

from GPT_SoVITS.dataset.transcribe import Transcriber
from GPT_SoVITS.dataset.word_errors import error_rate
from GPT_SoVITS.features.whisper_model import model_folder

logger = logging.getLogger(__name__)

WORST: Final = 0.3
"""Error rate (words in English, characters in Mandarin) above which a clip is dropped."""
SAVE_EVERY: Final = 100


def screen(folder: Path, work: Path) -> None:
    """Write the error rate of each spoken clip of `<folder>/texts.jsonl` by name; goes on where it was stopped."""
    file = _file(work)
    rates: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    transcriber = Transcriber(model_folder(work / "models"), threads=1)
    for line in (folder / "texts.jsonl").read_text(encoding="utf-8").splitlines():
        clip = json.loads(line)
        source = Path(clip["file"])
        if source.stem in rates or not source.exists():
            continue
        transcript = transcriber.transcribe(source, clip["language"]).text
        rates[source.stem] = round(error_rate(clip["text"], transcript, clip["language"]), 3)
        if len(rates) % SAVE_EVERY == 0:
            _write(file, rates)
    _write(file, rates)
    logger.info("%d of %d clips are dropped.", sum(rate > WORST for rate in rates.values()), len(rates))


def dropped(work: Path) -> set[str]:
    """Return the names of the clips that say something else."""
    file = _file(work)
    return {name for name, rate in json.loads(file.read_text()).items() if rate > WORST} if file.exists() else set()


def _file(work: Path) -> Path:
    return work / "screened.json"


def _write(file: Path, rates: dict[str, float]) -> None:
    making = file.with_suffix(".making")
    making.write_text(json.dumps(rates))
    making.rename(file)
