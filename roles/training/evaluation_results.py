"""What is known of the checkpoints of a training, kept in its folder: one that goes on judges only the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import orjson
from typing_extensions import TypedDict

from common.files import write_atomically
from core.stages.outputs import PreviewOutput, PromptOutput
from roles.training.checkpoints import CheckpointRow, Measures

FILE: Final = "evaluated.json"


class EvaluationBasis(TypedDict):
    """What results depend on beside the checkpoints; the same on a host with other folders."""

    prompt: PromptOutput
    sentences: int
    partner: str
    """Name of the other model."""


class EvaluatedCheckpoint(TypedDict):
    """What was measured of a checkpoint."""

    row: CheckpointRow
    language: str
    mean: Measures
    preview: PreviewOutput | None
    """None when it spoke nothing."""


class _Content(TypedDict):
    """Content of the file."""

    basis: EvaluationBasis
    before: PreviewOutput | None
    evaluated: dict[str, EvaluatedCheckpoint]
    waiting: list[CheckpointRow]


class EvaluationResults:
    """The results in a training's folder; each change is written at once."""

    def __init__(self, folder: Path, basis: EvaluationBasis) -> None:
        """Read what an earlier run kept; checkpoints that were judged on another basis wait to be judged again."""
        self._file = folder / FILE
        self._content: _Content = {"basis": basis, "before": None, "evaluated": {}, "waiting": []}
        if not self._file.exists():
            return
        kept: _Content = orjson.loads(self._file.read_bytes())
        self._content["waiting"] = kept["waiting"]
        if kept["basis"]["prompt"] == basis["prompt"]:  # the base speaks with nothing else
            self._content["before"] = kept["before"]
        if kept["basis"] == basis:
            self._content["evaluated"] = kept["evaluated"]
        else:
            judged = [checkpoint["row"] for checkpoint in kept["evaluated"].values()]
            self._content["waiting"] = [*judged, *kept["waiting"]]

    @property
    def before(self) -> PreviewOutput | None:
        """What the base spoke before the first epoch."""
        return self._content["before"]

    @property
    def waiting(self) -> list[CheckpointRow]:
        """The checkpoints that were saved and are not judged yet."""
        return list(self._content["waiting"])

    @property
    def previews(self) -> list[PreviewOutput]:
        """What was spoken so far, by epoch."""
        spoken = [self.before, *(checkpoint["preview"] for checkpoint in self._content["evaluated"].values())]
        by_epoch = {preview["epoch"]: preview for preview in spoken if preview is not None}
        return [by_epoch[epoch] for epoch in sorted(by_epoch)]

    def find(self, row: CheckpointRow) -> EvaluatedCheckpoint | None:
        """Return what was measured of a checkpoint; None while it is not judged."""
        return self._content["evaluated"].get(row["checkpoint_id"])

    def set_before(self, preview: PreviewOutput) -> None:
        """Keep what the base spoke."""
        self._content["before"] = preview
        self._write()

    def add_waiting(self, row: CheckpointRow) -> None:
        """Keep a checkpoint that is to be judged."""
        self._content["waiting"].append(row)
        self._write()

    def add(self, evaluated: EvaluatedCheckpoint) -> None:
        """Keep what was measured of a checkpoint."""
        row = evaluated["row"]
        self._content["evaluated"][row["checkpoint_id"]] = evaluated
        others = (other for other in self._content["waiting"] if other["checkpoint_id"] != row["checkpoint_id"])
        self._content["waiting"] = list(others)
        self._write()

    def clear(self) -> None:
        """Forget all checkpoints."""
        self._content["evaluated"] = {}
        self._content["waiting"] = []
        self._write()

    def _write(self) -> None:
        write_atomically(self._file, orjson.dumps(self._content))
