"""One task of `scripts/bench engine` in a process of its own: `engine_child.py TASK FOLDER` prints JSON."""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

RANDOM = np.random.default_rng(0)


def main() -> None:
    task, folder = sys.argv[1], Path(sys.argv[2])
    torch.manual_seed(0)
    tasks: dict[str, Callable[[Path], dict[str, float]]] = {
        "hubert": hubert,
        "training": training,
        "checkpoints": checkpoints,
        "load": load,
    }
    measured = tasks[task](folder)
    print(json.dumps(measured))


def hubert(_folder: Path) -> dict[str, float]:
    """Return the peak memory of features of 10 s over that of the loaded model."""
    from transformers import HubertConfig, HubertModel

    from GPT_SoVITS.features.hubert import Hubert

    model = Hubert(HubertModel(HubertConfig()))
    samples = RANDOM.normal(0, 0.1, 160_000).astype(np.float32)
    start_peak()
    before = resident_mb()
    model.features_of(samples)
    return {"mb": peak_mb() - before}


def training(folder: Path) -> dict[str, float]:
    """Return the seconds of waiting for data and of computing, after a first step that warms up."""
    import soundfile

    from GPT_SoVITS.sovits.trainer import SoVITSTrainer
    from GPT_SoVITS.sovits.training_config import SoVITSTrainingConfig
    from GPT_SoVITS.sovits.training_set import CODES_FILE, TEXT_FILE, WAVE_FOLDER
    from GPT_SoVITS.training.timer import Timer

    data, rate = folder / "set", 32_000
    (data / WAVE_FOLDER).mkdir(parents=True)
    texts, codes = [], ["item_name\tsemantic_audio"]
    for i in range(8):
        name = f"{i}.wav"
        soundfile.write(data / WAVE_FOLDER / name, RANDOM.normal(0, 0.1, 4 * rate).clip(-1, 1), rate)
        texts.append(f"{name}\tHH AH0 L OW1 .\tNone\thello.")
        codes.append(f"{name}\t{' '.join(map(str, RANDOM.integers(0, 1024, 100)))}")
    (data / TEXT_FILE).write_text("\n".join(texts) + "\n")
    (data / CODES_FILE).write_text("\n".join(codes) + "\n")
    plan = SoVITSTrainingConfig(
        "v2", data, folder / "run", epochs=1, batch_size=2, save_every_epoch=1, threads=torch.get_num_threads()
    )
    run = SoVITSTrainer(plan, lambda *_, **__: None, threading.Event())
    work = run.steps(0)
    for number in range(2):
        run.step(work[number], work[number + 1])
        if number == 0:
            run.timer = Timer()
    return {"data": run.timer.data, "learning": run.timer.learning}


def checkpoints(folder: Path) -> dict[str, float]:
    """Write official files of official size."""
    from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
    from GPT_SoVITS.checkpoints.official_files import write_official
    from GPT_SoVITS.configs import load_config
    from GPT_SoVITS.gpt.model import Text2Semantic
    from GPT_SoVITS.sovits.model import SoVITS

    gpt, sovits = load_config("v2_gpt"), load_config("v2")
    states = {
        "gpt": (gpt, Text2Semantic.from_config(gpt).state_dict()),
        "sovits": (sovits, SoVITS.from_config(sovits).voice_state()),
    }
    for kind, (config, state) in states.items():
        half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
        info = {"epoch": 1, "step": 1}
        write_official(folder / NAMES[kind], Checkpoint(kind, "v2", config, half, info))
    return {}


NAMES = {"gpt": "v2-e1.ckpt", "sovits": "v2_e1_s1.pth"}


def load(folder: Path) -> dict[str, float]:
    """Return the seconds of loading a voice, and the whole process's peak memory over the size of its files."""
    from GPT_SoVITS.pipeline import Pipeline

    files = [folder / name for name in NAMES.values()]
    start = time.perf_counter()
    pipeline = Pipeline.load(*files)
    seconds = time.perf_counter() - start
    assert pipeline.version == "v2"
    return {"seconds": seconds, "mb": peak_mb() - sum(file.stat().st_size for file in files) / 1e6}


def start_peak() -> None:
    """Reset the peak of the resident memory, where the kernel can."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def peak_mb() -> float:
    return _status_mb("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def resident_mb() -> float:
    return _status_mb("VmRSS") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def _status_mb(name: str) -> float:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    for line in status.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


if __name__ == "__main__":
    main()
