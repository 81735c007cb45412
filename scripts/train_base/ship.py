"""Puts the trained base where the product finds it: float16 weights, their sums, and the numbers for the card."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from GPT_SoVITS.checkpoints.catalog import BASE_FOLDER
from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint, save_checkpoint
from GPT_SoVITS.checkpoints.resume_files import load_resume
from GPT_SoVITS.configs import load_config
from GPT_SoVITS.sovits.model import SoVITS

LARGEST = 48_000_000
"""Bytes of both files together."""


def ship(work: Path, counts: tuple[Tensor, Tensor], *, commit: str) -> dict[str, Any]:
    """Write `GPT_SoVITS/base/{gpt,sovits}.safetensors` and SHA256SUMS; returns what each file is. `counts` are those of
    `count`."""
    acoustic = load_resume(work / "acoustic.pt")
    newest = max((work / "gpt").glob("gpt-e*.safetensors"), key=lambda path: int(path.stem.rpartition("-e")[2]))
    if acoustic is None:
        raise SystemExit("There is no acoustic model yet: scripts/train-base acoustic")
    gpt = open_checkpoint(newest, kind="gpt", version="nano")
    spoken = dict(zip(("model.ar_pointer_tokens", "model.ar_pointer_moving"), counts, strict=True))
    model = SoVITS.from_config(load_config("nano"))
    model.load_state_dict(acoustic["model"])
    BASE_FOLDER.mkdir(exist_ok=True)
    about = {"commit": commit, "licence": "CC-BY-SA-4.0"}
    files = {
        "gpt": (gpt.config, dict(gpt.state) | spoken, {"epoch": gpt.info["epoch"], "step": gpt.info["step"]}),
        "sovits": (load_config("nano"), model.voice_state(), {"epoch": 0, "step": acoustic["step"]}),
    }
    shipped: dict[str, Any] = {}
    for kind, (config, state, info) in files.items():
        path = BASE_FOLDER / f"{kind}.safetensors"
        save_checkpoint(path, Checkpoint(kind=kind, version="nano", config=config, state=state, info=info | about))
        path.chmod(0o644)
        shipped[path.name] = {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
            "step": info["step"],
        }
    total = sum(entry["bytes"] for entry in shipped.values())
    if total > LARGEST:
        raise SystemExit(f"The base has {total} bytes; {LARGEST} are allowed.")
    sums = "".join(f"{entry['sha256']}  {name}\n" for name, entry in shipped.items())
    (BASE_FOLDER / "SHA256SUMS").write_text(sums, encoding="utf-8")
    print(json.dumps(shipped, indent=2))
    return shipped
