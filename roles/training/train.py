"""One training from its plan to its best checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from core.errors import MissingPart
from core.jobs.placement import TrainingResources, cap_cpu_training
from roles.stages.stage_role import StageRun
from roles.training.checkpoints import Checkpoints
from roles.training.evaluation import SAMPLES, judge_checkpoints
from roles.training.lineage import lineage_of
from roles.training.memory import BatchSize
from roles.training.process import TrainingProcess

logger = logging.getLogger(__name__)

PROGRAMS: dict[str, str] = {
    "sovits": "GPT_SoVITS.sovits.train",
    "gpt": "GPT_SoVITS.gpt.train",
    "flow_matching": "GPT_SoVITS.flow_matching.train",
}
"""Training → the module that is run for it."""
SEED = 1234
TRAINING_SHARE = 0.9
"""Of the stage's progress; the rest is judging what was trained."""
PICTURE = "loss.png"
EVENTS = "events"
_OF_THE_RECORD = ("epoch", "checkpoint_id", "model_path", "sha256")
"""What a checkpoint's record says elsewhere than among its metrics."""
_BASES = {"base": "", "base_discriminator": "discriminator"}
"""Entries of a plan that name files → their part; the first one's is the kind that is trained."""


def train(run: StageRun, *, kind: str, settings: Mapping[str, Any], program: str = "") -> dict[str, Any]:
    """Train `gpt` or `sovits`; the stage's outputs. It goes on where an earlier run in the same folder stopped."""
    output = run.folder / f"{kind}_{run.work_run}"
    output.mkdir(parents=True, exist_ok=True)
    judges = bool(run.services.settings.evaluation_sentences)
    share = TRAINING_SHARE if judges else 1.0
    means = _means(run)
    batch = BatchSize(output, means.batch_size)

    def attempt(batch_size: int) -> dict[str, Any]:
        plan = _plan(run, output, settings, batch_size)
        (output / "run.json").write_bytes(orjson.dumps(plan, option=orjson.OPT_INDENT_2))
        kept = Checkpoints(run, kind, lineage_of(run, _bases(kind, plan), batch_size))
        module = PROGRAMS[program or kind]
        process = TrainingProcess(module, output / "run.json", run, keep=kept.keep, share=share)
        return {"done": process.run_to_end(), "checkpoints": kept}

    trained = batch.run(attempt)
    done, checkpoints = trained["done"], trained["checkpoints"]
    rows = [checkpoints.keep(one["epoch"], Path(one["path"]), loss=one["loss"]) for one in done["checkpoints"]]

    def tell(fraction: float, message: str) -> None:
        run.progress(share + (1.0 - share) * fraction, message)

    evaluation = judge_checkpoints(run, kind, rows, output, tell)
    chosen = _choose(rows)
    for row in rows:
        row["best"] = row is chosen
        checkpoints.measure(
            row["checkpoint_id"], {name: value for name, value in row.items() if name not in _OF_THE_RECORD}
        )
    return _outputs(run, output, done["metrics"], rows, chosen) | {
        "evaluation": evaluation,
        "notes": [note for note in (means.note, batch.note) if note],
    }


def _plan(run: StageRun, output: Path, settings: Mapping[str, Any], batch_size: int) -> dict[str, Any]:
    return {
        "version": run.experiment.version,
        "data": str(run.folder),
        "output": str(output),
        "epochs": run.config["total_epoch"],
        "batch_size": batch_size,
        "save_every_epoch": run.config["save_every_epoch"],
        "seed": SEED,
        # nano's products are too small to share: a second thread waits more than it works, above all on busy cores.
        "threads": 1 if run.experiment.version == "nano" else _means(run).threads,
        "device": run.services.device,
        **settings,
    }


def _means(run: StageRun) -> TrainingResources:
    asked, threads = run.config["batch_size"], run.services.threads
    if run.services.device != "cpu":
        return TrainingResources(asked, threads)
    return cap_cpu_training(run.services.settings, threads, asked)


def _bases(kind: str, plan: Mapping[str, Any]) -> dict[str, str]:
    """Part → the file that it begins from. MissingPart before any work is done."""
    bases = {part or kind: str(plan[entry]) for entry, part in _BASES.items() if plan.get(entry)}
    for part, path in bases.items():
        if not Path(path).is_file():
            raise MissingPart(
                f"The {part} model {Path(path).name}, from which this training begins, is not there.",
                hint=f"`main.py download {plan['version']}` fetches the official ones; "
                "or name another checkpoint or file in the stage's parameters.",
            )
    return bases


def _choose(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The best one by `GPT_SoVITS.evaluation.choose`; the last one where none was judged."""
    from GPT_SoVITS.evaluation.choose import best

    return best(rows) or rows[-1]


def _outputs(
    run: StageRun, output: Path, metrics: dict[str, Any], rows: list[dict[str, Any]], chosen: dict[str, Any]
) -> dict[str, Any]:
    """What the API shows of the stage; `checkpoint_id` is what a voice is published with."""
    key = f"experiments/{run.experiment.id}/{output.name}"
    judged = {name: chosen[name] for name in ("wer", "cer", "similarity", "dnsmos", "rtf") if name in chosen}
    return {
        "checkpoint_id": chosen["checkpoint_id"],
        "model_path": chosen["model_path"],
        "metrics": {
            **metrics,
            "lowest_loss_epoch": metrics["best_epoch"],
            "best_epoch": chosen["epoch"],
            "chosen_by": "evaluation" if judged else "last epoch",
            **judged,
        },
        "checkpoints": rows,
        "curves": f"{key}/{PICTURE}" if (output / PICTURE).exists() else None,
        "tensorboard": f"{key}/{EVENTS}" if (output / EVENTS).is_dir() else None,
        "samples": f"{key}/{SAMPLES}" if (output / SAMPLES).is_dir() else None,
    }
