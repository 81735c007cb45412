"""The saved epochs of a training, published as checkpoints as soon as they are written."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.errors import NotFound
from core.records import NewCheckpointRecord
from roles.stages.stage_role import StageRun
from roles.training.lineage import sha256_of


class Checkpoints:
    """Publishes weights under ids made from the run and their content: a repeated run writes the same ones."""

    def __init__(self, run: StageRun, kind: str, lineage: dict[str, Any]) -> None:
        self.run = run
        self.kind = kind
        """`gpt` or `sovits`."""
        self.lineage = lineage
        self._kept: dict[tuple[int, str], dict[str, Any]] = {}

    def keep(self, epoch: int, trained: Path, **metrics: Any) -> dict[str, Any]:
        """Publish one and record it: `{epoch, checkpoint_id, model_path, sha256, **metrics}`."""
        sha256 = sha256_of(trained)
        known = self._kept.get((epoch, sha256))
        if known is None:
            known = self._publish(epoch, trained, sha256, metrics)
            self._kept[epoch, sha256] = known
        return {**known, **metrics}

    def measure(self, checkpoint_id: str, metrics: dict[str, Any]) -> None:
        """Write down what was found out about one, unless it was deleted meanwhile."""
        services = self.run.services
        with suppress(NotFound):
            services.call(services.records.checkpoints.add_metrics, checkpoint_id, metrics)

    def _publish(self, epoch: int, trained: Path, sha256: str, metrics: dict[str, Any]) -> dict[str, Any]:
        run, services = self.run, self.run.services
        identity = f"{run.experiment.id}/{run.stage}/{run.work_run}/{epoch}/{sha256}"
        checkpoint_id = f"ckpt-{hashlib.sha256(identity.encode()).hexdigest()[:20]}"
        key = f"checkpoints/{checkpoint_id}.safetensors"
        run.context.check()
        if not services.storage.exists(key):
            temporary = services.storage.new_temporary()
            _share(trained, temporary)
            services.storage.publish(temporary, key)
        services.call(
            services.records.checkpoints.create,
            NewCheckpointRecord(
                id=checkpoint_id,
                kind=self.kind,
                version=run.experiment.version,
                name=f"{run.experiment.exp_name}-{self.kind}-e{epoch}",
                sha256=sha256,
                size_bytes=trained.stat().st_size,
                exp_id=run.experiment.id,
                epoch=epoch,
                metrics=metrics,
                lineage=self.lineage,
            ),
        )
        return {"epoch": epoch, "checkpoint_id": checkpoint_id, "model_path": key, "sha256": sha256}


def _share(source: Path, target: Path) -> None:
    """The same bytes under two names where the file system can: neither is ever written to again."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
