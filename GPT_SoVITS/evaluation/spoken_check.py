"""Have each voice speak one sentence, in a process of its own: `python -m GPT_SoVITS.evaluation.spoken_check`.

Standard input has the request:

    {"models": folder, "threads": 1, "voices": [{"id": …, "gpt": file, "sovits": file, "text": …, "language": …,
     "seed": 1234, "prompt": {"audio": file, "text": …, "language": …, "tokens": [int, …]?}}, …]}

Standard output carries JSON lines: `spoken` for each voice with the SHA-256 of its 16-bit samples, `failed` with the
reason for one that does not speak, and `done`. On a CPU, where the same seed gives the same samples.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.training.program import DONE, emit

if TYPE_CHECKING:
    import numpy as np

    from GPT_SoVITS.synthesis.helper_networks import HelperNetworks

SILENCE_DB = -100.0


def main() -> int:
    """Check the voices of the request; return the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(message)s")
    request = json.load(sys.stdin)

    import torch

    from GPT_SoVITS.synthesis.helper_networks import HelperNetworks

    torch.set_num_threads(request["threads"])
    models = Path(request["models"])
    helpers = HelperNetworks(models, device="cpu")
    for voice in request["voices"]:
        try:
            emit("spoken", id=voice["id"], **speak(voice, models, helpers))
        except (ModelError, OSError) as error:
            message = error.message if isinstance(error, ModelError) else str(error)
            emit("failed", id=voice["id"], message=message)
    emit("done")
    return DONE


def speak(voice: dict[str, Any], models: Path, helpers: HelperNetworks) -> dict[str, object]:
    """Load a voice, speak its sentence, and return the audio's length, hash and loudness.

    Raises:
        ModelError: those of `Pipeline.load`, `prepare_prompt` and `speak`.
    """
    import numpy as np

    from GPT_SoVITS.pipeline import Pipeline

    pipeline = Pipeline.load(
        Path(voice["gpt"]), Path(voice["sovits"]), models=models, device="cpu", precision="fp32", helpers=helpers
    )
    reference = voice["prompt"]
    prompt = pipeline.prepare_prompt(
        Path(reference["audio"]), reference["text"], reference["language"], tokens=reference.get("tokens")
    )
    speech = pipeline.speak(voice["text"], voice["language"], prompt, seed=voice["seed"])
    samples = (np.clip(speech.samples, -1.0, 1.0) * 32767.0).astype("<i2")
    return {
        "seconds": round(len(samples) / speech.sample_rate, 3),
        "sha256": hashlib.sha256(samples.tobytes()).hexdigest(),
        "loudness": loudness(speech.samples, speech.sample_rate),
    }


def loudness(samples: np.ndarray, sample_rate: int) -> list[float]:
    """Return the level in dB of each tenth of a second of mono samples (N,)."""
    import numpy as np

    frame = sample_rate // 10
    levels = []
    for start in range(0, len(samples), frame):
        power = float(np.mean(np.square(samples[start : start + frame], dtype=np.float64)))
        levels.append(round(max(SILENCE_DB, 10 * np.log10(power)) if power > 0 else SILENCE_DB, 1))
    return levels


if __name__ == "__main__":
    sys.exit(main())
