"""One training, from its plan to its best checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Required, cast

import orjson
from typing_extensions import TypedDict

from common import storage_keys
from common.program_name import program_name
from common.programs import TRAINING
from core.errors import MissingPart
from core.jobs.devices import constrained_gpus
from core.jobs.placement import TrainingResources, cap_cpu_training
from core.jobs.worker_process import visible_devices
from core.stages.outputs import CheckpointOutput, TrainingOutputs
from GPT_SoVITS.evaluation.best_checkpoint import best_checkpoint
from roles.preprocessing.process_pool import device_of_gpus, host_gpus
from roles.stages.stage_run import StageRun
from roles.training.checkpoint_evaluator import SAMPLES, CheckpointEvaluator, EvaluationReport
from roles.training.checkpoints import CheckpointPublisher, CheckpointRow
from roles.training.lineage import lineage_of
from roles.training.memory import BatchSize
from roles.training.process import TrainingProcess
from roles.training.program import TrainingDoneEvent
from roles.training.spare_threads import spare_threads

logger = logging.getLogger(__name__)

SEED: Final = 1234
TRAINING_SHARE: Final = 0.9
"""Of the stage's progress; the rest is the evaluation of the checkpoints."""
PICTURE: Final = "loss.png"
EVENTS: Final = "events"
EVALUATION_METRICS: Final = ("wer", "cer", "similarity", "dnsmos", "rtf")
"""Measures of the best checkpoint that are shown with the training's metrics."""


class TrainingSettings(TypedDict, total=False):
    """What a stage adds to the plan of its training."""

    base: Required[str]
    """File that the training begins from."""
    base_discriminator: str
    grad_ckpt: bool
    text_low_lr_rate: float
    lora_rank: int
    dpo: bool


def train(run: StageRun, *, kind: str, settings: TrainingSettings, trainer: str = "") -> TrainingOutputs:
    """Train `gpt` or `sovits` and evaluate its checkpoints; it continues where an earlier run in its folder stopped.

    `trainer`: one of GPT_SoVITS.train, by default that of the kind. Raises MissingPart when a base is missing.
    """
    with run.held_folder() as folder:
        return _train(run, folder, kind, settings, trainer or kind)


def _train(run: StageRun, folder: Path, kind: str, settings: TrainingSettings, trainer: str) -> TrainingOutputs:
    resources = _resources(run)
    evaluates = run.services.settings.evaluation_sentences > 0
    share = TRAINING_SHARE if evaluates else 1.0
    cores = spare_threads(run, resources.threads) if evaluates else 0
    bases = _bases(run, kind, settings)
    batch = BatchSize(folder, resources.batch_size, grad_ckpt=settings.get("grad_ckpt", False))
    gpus = _gpus(run)

    def attempt(batch_size: int, grad_ckpt: bool) -> tuple[TrainingDoneEvent, CheckpointPublisher]:
        plan = {
            "trainer": trainer,
            **_common_plan(run, resources.threads),
            "batch_size": batch_size,
            "processes": max(1, len(gpus)),
            **settings,
            "grad_ckpt": grad_ckpt,
        }
        (folder / "run.json").write_bytes(orjson.dumps(plan, option=orjson.OPT_INDENT_2))
        publisher = CheckpointPublisher(run, kind, lineage_of(run, bases, batch_size))
        process = TrainingProcess(
            TRAINING,
            folder / "run.json",
            run,
            publish=publisher.publish,
            evaluator=evaluator,
            share=share,
            environment=visible_devices(device_of_gpus(gpus)) if gpus else None,
        )
        return process.run_to_end(), publisher

    with closing(CheckpointEvaluator(run, kind, folder, spare_threads=cores)) as evaluator:
        evaluator.begin(Path(settings["base"]))
        done, publisher = batch.run(attempt, release_memory=evaluator.release_memory)
        rows = [
            publisher.publish(saved["epoch"], folder / saved["path"], loss=saved["loss"])
            for saved in done["checkpoints"]
        ]
        evaluation = evaluator.finish(
            rows, lambda fraction, message: run.progress(share + (1.0 - share) * fraction, message)
        )
    best = None if evaluation["error"] else best_checkpoint(rows)
    for row in rows:
        row["best"] = row is (best or rows[-1])
        publisher.record_metrics(row)
    notes = [note for note in (resources.note, batch.note) if note]
    return _outputs(run, folder, rows, best, done["metrics"], evaluation=evaluation, notes=notes)


def _outputs(
    run: StageRun,
    folder: Path,
    rows: list[CheckpointRow],
    best: CheckpointRow | None,
    metrics: Mapping[str, Any],
    *,
    evaluation: EvaluationReport,
    notes: list[str],
) -> TrainingOutputs:
    """Return what the training left; `best`: the checkpoint that was judged best, None where none was judged."""
    chosen = best or rows[-1]
    return {
        "checkpoint_id": chosen["checkpoint_id"],
        "model_path": chosen["model_path"],
        "metrics": {
            **metrics,
            "lowest_loss_epoch": metrics["best_epoch"],
            "best_epoch": chosen["epoch"],
            "chosen_by": "evaluation" if best else "last epoch",
            **{name: chosen[name] for name in EVALUATION_METRICS if name in chosen},
        },
        "checkpoints": cast(list[CheckpointOutput], rows),
        "curves": _key(run, folder, PICTURE),
        "tensorboard": _key(run, folder, EVENTS),
        "samples": _key(run, folder, SAMPLES),
        "evaluation": {**evaluation},
        "notes": notes,
    }


def _common_plan(run: StageRun, threads: int) -> dict[str, object]:
    """Return what the plan of any training of an experiment says."""
    experiment = run.experiment
    return {
        "version": experiment.version,
        "data": str(run.folder),
        "output": ".",
        "epochs": run.config["total_epoch"],
        "save_every_epoch": run.config["save_every_epoch"],
        "save_minutes": run.services.settings.training_state_minutes,
        "seed": SEED,
        "threads": threads,
        "device": run.services.device,
        "precision": "auto" if experiment.is_half else "fp32",
    }


def _resources(run: StageRun) -> TrainingResources:
    """Return batch size and threads, on a CPU as far as its memory and cores go."""
    resources = TrainingResources(run.config["batch_size"], run.services.threads)
    if run.services.device == "cpu":
        resources = cap_cpu_training(run.services.settings, resources.threads, resources.batch_size)
        if resources.note:
            logger.warning("%s", resources.note)
    # nano's products are too small to share: a second thread waits more than it works, above all on busy cores.
    return replace(resources, threads=1) if run.experiment.version == "nano" else resources


def _gpus(run: StageRun) -> list[str]:
    """Return the UUIDs of the GPUs that train together; empty: the worker's own device.

    They are those of this host that the job is constrained to, all of which its claim counts as used.
    """
    if run.services.device != "cuda":
        return []
    uuids = host_gpus()
    numbers = (str(number) for number in constrained_gpus(run.context.job.device))
    present = [uuids[number] for number in numbers if number in uuids]
    return present if len(present) > 1 else []


def _bases(run: StageRun, kind: str, settings: TrainingSettings) -> dict[str, str]:
    """Return part → the file that it begins from. Raises MissingPart when one is not there."""
    entries = {kind: settings.get("base"), "discriminator": settings.get("base_discriminator")}
    bases = {part: str(path) for part, path in entries.items() if path}
    for part, path in bases.items():
        if not Path(path).is_file():
            raise MissingPart(
                f"The {part} model {Path(path).name}, from which this training begins, is not there.",
                hint=f"`{program_name()} download {run.experiment.version}` fetches the official ones; "
                "or name another checkpoint or file in the stage's parameters.",
            )
    return bases


def _key(run: StageRun, folder: Path, name: str) -> str | None:
    """Return the storage key of a file or folder that the training left; None when it is missing."""
    if not (folder / name).exists():
        return None
    return storage_keys.experiment_file(run.experiment.id, run.own_folder_name, name)
