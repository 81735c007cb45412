"""One run of a stage, as the function that does the stage sees it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from common.operating_system import folder_by_handle
from core.records import ExperimentRecord
from core.stages.outputs import CompletedOutputs, StageOutputs, TrainingOutputs
from roles.runtime.model_cache import ModelCache
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices
from roles.stages.shared_folder import own_folder_name

PROGRESS_SECONDS: Final = 1.0
"""Progress without numbers is recorded this often at most: each time is a transaction."""
WEIGHTS: Final = (".pt", ".safetensors", ".ckpt", ".pth")
"""Suffixes of files that are only ever replaced as a whole, so that a link to one keeps its content."""


@dataclass(slots=True)
class StageRun:
    """One run of one stage of one experiment."""

    experiment: ExperimentRecord
    stage: str
    run: int
    config: dict[str, Any]
    """The stage's parameters, defaults filled in."""
    outputs: CompletedOutputs
    folder: Path
    """The experiment's folder; also its training-set folder (specification s1-gpt §12)."""
    services: WorkerServices
    context: JobContext
    work_run: int = 1
    """The run in whose own folder it works: an earlier one when it continues after a pause."""
    models: ModelCache = field(default_factory=ModelCache)
    save_soon: Callable[[], None] = lambda: None
    """Call it when the folder holds a state that another host could continue from."""
    save_file: Callable[[str], None] = lambda name: None
    """Call it with the path, in the folder, of a file that users may download while the stage still runs."""
    progress_at: float = float("-inf")
    """When progress was recorded last, by `time.monotonic`."""

    def training_outputs(self, kind: str) -> TrainingOutputs | None:
        """Return the outputs of the training of `gpt` or `sovits`; None while it is not completed."""
        return self.outputs.get("gpt_train") if kind == "gpt" else self.outputs.get("sovits_train")

    def progress(self, fraction: float, message: str, **numbers: float) -> None:
        """Record how far the stage is (0–1). Raises JobCancelled, LeaseLost or Draining when it should stop."""
        self.context.check()
        now = time.monotonic()
        if not numbers and fraction < 1.0 and now - self.progress_at < PROGRESS_SECONDS:
            return
        self.progress_at = now
        overall = self.services.call(
            self.services.experiments.runs.update_progress,
            self.experiment.id,
            self.stage,
            self.run,
            fraction,
            message,
            **numbers,
        )
        self.context.progress(fraction, message, stage=self.stage, overall_progress=overall, **numbers)

    @property
    def own_folder_name(self) -> str:
        """Name of the folder that `held_folder` opens."""
        return own_folder_name(self.stage, self.work_run)

    @contextmanager
    def held_folder(self) -> Iterator[Path]:
        """Yield the folder `own_folder_name` with what earlier runs left there; nobody else writes to it.

        The path, and a program that works in it, reach the very folder that this lease has made, under whatever name: a
        predecessor that slept, or whose program still runs, goes on in the folder from which this one was copied.
        """
        final, attempt = self.folder / self.own_folder_name, (self.run, self.context.lease.token)
        making, old = (
            final.with_name(f".{final.name}.{self.run}.{self.context.lease.token}.{suffix}")
            for suffix in ("making", "old")
        )
        replaced = sorted(self.folder.glob(f".{final.name}.*.old"), key=_attempt_of)
        source = final if final.exists() else replaced[-1] if replaced else None  # a swap was interrupted
        for earlier in self.folder.glob(f".{final.name}.*.making"):
            if _attempt_of(earlier) <= attempt:
                shutil.rmtree(earlier, ignore_errors=True)
        if source is None:
            making.mkdir(parents=True)
        else:
            shutil.copytree(source, making, copy_function=_link_or_copy, ignore=shutil.ignore_patterns(".*"))
        with folder_by_handle(making) as by_handle:
            self.context.confirm_lease()
            if final.exists():
                final.rename(old)
            making.rename(final)
            for folder in (old, *replaced):
                shutil.rmtree(folder, ignore_errors=True)
            yield by_handle or final

    @contextmanager
    def new_folder(self, name: str) -> Iterator[Path]:
        """Yield an empty folder that replaces `name` when the block ends without an error, else is deleted.

        A worker that lost its lease, and goes on after that, replaces nothing: its folder is its own, and the queue is
        asked right before the new folder takes its place.
        """
        final, token = self.folder / name, self.context.lease.token
        temporary, old = self.folder / f".{name}.{token}.making", self.folder / f".{name}.old"
        for earlier in self.folder.glob(f".{name}.*making"):  # of processes that were killed, or have lost their leases
            number = earlier.name.removeprefix(f".{name}.").removesuffix("making").removesuffix(".")
            if not number or (number.isdigit() and int(number) < token):
                shutil.rmtree(earlier, ignore_errors=True)
        try:
            temporary.mkdir(parents=True)
            yield temporary
            self.context.confirm_lease()
            shutil.rmtree(old, ignore_errors=True)
            if final.exists():
                final.rename(old)
            temporary.rename(final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _attempt_of(folder: Path) -> tuple[int, int]:
    """Return run and token in the name of a folder that was being made, or was replaced, in that attempt."""
    *_, run, token, _ = folder.name.split(".")
    return int(run), int(token)


def _link_or_copy(source: str, target: str) -> None:
    """Copy a file; link weights, which may be large."""
    if source.endswith(WEIGHTS):
        try:
            os.link(source, target)
        except OSError:  # a file system without links
            shutil.copy2(source, target)
    else:
        shutil.copy2(source, target)


StageFunction: TypeAlias = Callable[[StageRun], StageOutputs]
"""Does a stage and returns its outputs."""
