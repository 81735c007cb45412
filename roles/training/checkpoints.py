"""The saved epochs of a training, published as checkpoints as soon as they are written."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Required

from typing_extensions import TypedDict

from common import storage_keys
from common.files import sha256_of_file
from core.errors import NotFound
from core.records import NewCheckpointRecord
from roles.stages.stage_run import StageRun
from roles.training.lineage import Lineage


class Measures(TypedDict, total=False):
    """Means over the sentences that a checkpoint spoke; None where no sentence has the number."""

    wer: float | None
    cer: float | None
    similarity: float | None
    dnsmos: float | None
    rtf: float | None
    f0_low: float | None
    f0_high: float | None
    skipped: float | None
    repeated: float | None


class CheckpointRow(Measures, total=False):
    """A published checkpoint in the outputs of its stage."""

    epoch: Required[int]
    checkpoint_id: Required[str]
    model_path: Required[str]
    """Storage key."""
    sha256: Required[str]
    loss: float
    """Known when the training is done."""
    sample: str | None
    """Storage key of a sentence that it spoke."""
    best: bool


NOT_METRICS = ("epoch", "checkpoint_id", "model_path", "sha256")
"""Fields of a row that the checkpoint's record holds outside its metrics."""


class CheckpointPublisher:
    """Publish weights under ids made from the run and their content, so that a repeated run writes the same ones."""

    def __init__(self, run: StageRun, kind: str, lineage: Lineage) -> None:
        """`kind`: `gpt` or `sovits`."""
        self.run = run
        self.kind = kind
        self.lineage = lineage
        self._published: dict[tuple[int, str], str] = {}

    def publish(self, epoch: int, weights: Path, *, loss: float | None = None) -> CheckpointRow:
        """Publish and record the weights of an epoch, unless that was done before."""
        run, services = self.run, self.run.services
        sha256 = sha256_of_file(weights)
        checkpoint_id = self._published.get((epoch, sha256))
        if checkpoint_id is None:
            identity = f"{run.experiment.id}/{run.stage}/{run.work_run}/{epoch}/{sha256}"
            checkpoint_id = f"ckpt-{hashlib.sha256(identity.encode()).hexdigest()[:20]}"
            key = storage_keys.checkpoint(checkpoint_id)
            run.context.confirm_lease()
            if not services.storage.exists(key):
                temporary = services.storage.new_temporary()
                try:
                    os.link(weights, temporary)  # neither name is ever written to again
                except OSError:
                    shutil.copyfile(weights, temporary)
                services.storage.publish(temporary, key)
            record = NewCheckpointRecord(
                id=checkpoint_id,
                kind=self.kind,
                version=run.experiment.version,
                name=f"{run.experiment.exp_name}-{self.kind}-e{epoch}",
                sha256=sha256,
                size_bytes=weights.stat().st_size,
                exp_id=run.experiment.id,
                epoch=epoch,
                metrics={} if loss is None else {"loss": loss},
                lineage={**self.lineage},
            )
            services.call(services.records.checkpoints.create, record)
            self._published[epoch, sha256] = checkpoint_id
        row: CheckpointRow = {
            "epoch": epoch,
            "checkpoint_id": checkpoint_id,
            "model_path": storage_keys.checkpoint(checkpoint_id),
            "sha256": sha256,
        }
        if loss is not None:
            row["loss"] = loss
        return row

    def record_metrics(self, row: CheckpointRow) -> None:
        """Record what the evaluation measured, unless the checkpoint was deleted meanwhile."""
        services = self.run.services
        metrics = {name: value for name, value in row.items() if name not in NOT_METRICS}
        with suppress(NotFound):
            services.call(services.records.checkpoints.add_metrics, row["checkpoint_id"], metrics)
