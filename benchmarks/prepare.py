"""Seconds that each preparing stage takes for a minute of sound, and the share of time that waits on all but compute.

A nano task on the bundled recording runs its preparing stages on a real queue and real records, in this process: once
with everything to load, then again on the recording made quieter, then once more on that. Compute is
what decodes, cuts, listens, reads texts and encodes; everything else waits: files, checksums, records, the queue,
and in the first run the loading of models.
Run by `scripts/bench prepare`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import soundfile

from benchmarks.report import Row, report
from core.experiments.requests import TaskRequest
from core.ids import new_id
from core.jobs.roles import PREPROCESSOR
from core.records import NewFileRecord, upgrade
from core.redis_server import EmbeddedServer
from core.settings import REPOSITORY, read_settings
from core.stages.order import stage_order
from core.stages.stage import STAGES
from roles.preprocessor import Preprocessor
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices

RECORDING: Final = REPOSITORY / "prompts" / "allison" / "recording.flac"
STAGES_HERE: Final = tuple(name for name in stage_order("nano") if STAGES[name].role == PREPROCESSOR)
GOAL_PERCENT: Final = 10.0
WORKER: Final = "preprocessor-bench"
COMPUTE: Final = (
    "roles.preprocessing.segments.decode",
    "roles.preprocessing.segments.check_recording",
    "GPT_SoVITS.dataset.slicer.Slicer.slice",
    "GPT_SoVITS.dataset.loudness.mix_loudness",
    "GPT_SoVITS.dataset.denoise.Denoiser.clean",
    "GPT_SoVITS.dataset.transcribe.Transcriber.transcribe",
    "GPT_SoVITS.text.TextFrontend.phonemize",
    "GPT_SoVITS.features.whisper_content.ContentEncoder.encode",
    "GPT_SoVITS.sovits.tokens.SemanticTokens.extract",
)
"""What counts as compute; a decoder's start, a process of its own, is in its time."""

Span = tuple[float, float]


@dataclass(slots=True)
class Timeline:
    """What happened when, by `time.perf_counter`."""

    began: float = 0.0
    ended: float = 0.0
    stages: dict[str, Span] = field(default_factory=dict)
    compute: list[Span] = field(default_factory=list)

    @property
    def waiting_percent(self) -> float:
        """Of all the time, how much no compute was under way."""
        return 100 * (1 - covered(self.compute) / (self.ended - self.began))

    def waiting_seconds(self, stage: str) -> float:
        start, end = self.stages[stage]
        inside = [(max(start, first), min(end, last)) for first, last in self.compute if first < end and last > start]
        return end - start - covered(inside)


def main(arguments: list[str] | None = None) -> None:
    """Print the table; `--json FILE` writes it."""
    parser = argparse.ArgumentParser(prog="scripts/bench prepare", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--seconds", type=float, default=60.0, help="how much of the recording")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--denoise", action="store_true", help="take noise out, too")
    options = parser.parse_args(arguments)
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-prepare-") as folder:
        cold, warm, again = measure(Path(folder), options)
    print(f"\n{options.threads} threads; other work on this machine when it began: a load of {before:.1f}")
    report("prepare", list(rows(cold, warm, again, options.seconds / 60)), options.json)


def measure(folder: Path, options: argparse.Namespace) -> Iterator[Timeline]:
    """Three tasks, one after the other."""
    server = EmbeddedServer(folder / "redis")
    server.start()
    try:
        settings = read_settings(data_path=folder / "data")
        upgrade(settings.resolved_database_url)
        services = WorkerServices(settings, server.url, threads=options.threads)
        role = Preprocessor()
        role.start(services)
        for loudness in (1.0, 0.9, 0.9):
            file_id = upload(services, folder / "recording.wav", options.seconds, loudness)
            yield run_task(services, role, file_id, denoised=options.denoise)
        role.stop()
        services.close()
    finally:
        server.stop()


def run_task(services: WorkerServices, role: Preprocessor, file_id: str, *, denoised: bool) -> Timeline:
    """Run the jobs of a task as they come, until only trainings are left."""
    timeline, draining = Timeline(), threading.Event()
    with watched(timeline):
        timeline.began = time.perf_counter()
        task_id = begin(services, file_id, denoised)
        pending_stages = {name for name in STAGES_HERE if name != "denoise" or denoised}
        while pending_stages:
            lease = services.queue.claim(PREPROCESSOR, WORKER, block_seconds=1.0)
            if lease is None:
                continue
            started = time.perf_counter()
            services.queue.ack(lease, role.run(lease.job, JobContext(lease, services, draining)))
            stage = str(lease.job.payload["stage"])
            timeline.stages[stage] = (started, time.perf_counter())
            pending_stages.discard(stage)
        timeline.ended = time.perf_counter()
    services.call(services.experiments.tasks.cancel, task_id)
    return timeline


def begin(services: WorkerServices, file_id: str, denoised: bool) -> str:
    """Create a nano task and return its id."""
    with patch.dict("core.experiments.tasks.QUALITIES", {"fast": {"denoise": {"enabled": denoised}}}):
        task = services.call(
            services.experiments.tasks.create,
            TaskRequest("bench", file_id, version="nano", language="en", quality="fast"),
        )
    return task.id


def upload(services: WorkerServices, path: Path, seconds: float, loudness: float) -> str:
    """Store the recording as the API does and return its file id; another loudness makes another file."""
    samples, rate = soundfile.read(RECORDING, frames=int(seconds * 16_000))
    soundfile.write(path, samples * loudness, rate)
    file_id, content = new_id("file"), path.read_bytes()
    services.storage.put_bytes(f"files/{file_id}", content)
    digest = hashlib.sha256(content).hexdigest()
    services.call(
        services.records.files.create,
        NewFileRecord(
            id=file_id,
            filename=path.name,
            purpose="training",
            size_bytes=len(content),
            sha256=digest,
        ),
    )
    return file_id


@contextmanager
def watched(timeline: Timeline) -> Iterator[None]:
    """Note when anything of COMPUTE is under way."""

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                timeline.compute.append((started, time.perf_counter()))

        return call

    with ExitStack() as patches:
        for name in COMPUTE:
            owner, _, attribute = name.rpartition(".")
            patches.enter_context(patch(name, timed(getattr(resolve(owner), attribute))))
        yield


def resolve(name: str) -> Any:
    """Import a module, or return a class in one."""
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return getattr(importlib.import_module(module), attribute)


def covered(spans: Iterable[Span]) -> float:
    """Return the seconds in which at least one span was under way."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def rows(cold: Timeline, warm: Timeline, again: Timeline, minutes: float) -> Iterator[Row]:
    """Compare each stage warm and cold, then the whole, then the waiting."""
    for stage in warm.stages:
        ours, first = (took(run.stages[stage]) / minutes for run in (warm, cold))
        yield Row(stage, "s per minute", ours, "with models to load", first, first / ours)
        waiting = warm.waiting_seconds(stage) / minutes
        yield Row(f"{stage}, of that waiting", "s per minute", waiting, "the stage", ours, ours / waiting)
    whole, first = ((run.ended - run.began) / minutes for run in (warm, cold))
    yield Row("all stages", "s per minute", whole, "with models to load", first, first / whole)
    unchanged = (again.ended - again.began) / minutes
    yield Row("all stages, nothing changed", "s per minute", unchanged, "when all is new", whole, whole / unchanged)
    for name, run in (("warm", warm), ("with models to load", cold)):
        percent = run.waiting_percent
        yield Row(f"waits on anything but compute, {name}", "%", percent, "goal", GOAL_PERCENT, GOAL_PERCENT / percent)


def took(span: Span) -> float:
    return span[1] - span[0]


if __name__ == "__main__":
    main()
