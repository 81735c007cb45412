"""The files of a stage, processed here or by several processes: on several GPUs, or on the cores of a CPU.

Each file is processed by itself and in the same way, so the result does not depend on how many processes share them.
"""

from __future__ import annotations

import logging
import os
import queue
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast

import orjson
from typing_extensions import TypedDict

from common.programs import POOL_WORKER, program_command
from core.child_process import ChildProcess, Inbox, merged_events
from core.errors import StageFailed
from core.jobs.devices import split_gpu_numbers
from core.jobs.worker_process import GPUS, visible_devices
from core.process import child_environment
from roles.preprocessing.file_operations import ExecutionOptions, FileOperation, FileResult, map_files
from roles.preprocessing.pool_worker import WorkerPlan
from roles.runtime.errors import ReportedError, error_from_report
from roles.stages.stage_run import StageRun

logger = logging.getLogger(__name__)

_PROGRAM: Final = tuple(program_command(POOL_WORKER))


class ResultEvent(TypedDict):
    """A file was processed."""

    event: Literal["result"]
    index: int
    result: FileResult


class WorkerDoneEvent(TypedDict):
    """All files of the process were processed."""

    event: Literal["done"]


class WorkerErrorEvent(ReportedError):
    """The process failed and ends."""

    event: Literal["error"]


WorkerEvent: TypeAlias = ResultEvent | WorkerDoneEvent | WorkerErrorEvent


@dataclass(frozen=True, slots=True)
class WorkerPlacement:
    """Where one process of the pool runs."""

    threads: int
    gpu: str = ""
    """UUID; empty: the CPU."""


def process_files(run: StageRun, operation: FileOperation, paths: Sequence[Path], *, verb: str) -> list[FileResult]:
    """Process all files and return their results in order.

    Progress reads `<verb> 3 of 7 segments.` Raises StageFailed when a process dies, and what a process reports.
    """
    placements = worker_placements(run, len(paths))
    if len(placements) > 1:
        logger.info("%s: %d files, shared by %d processes.", run.stage, len(paths), len(placements))
        return _process_in_pool(run, operation, paths, placements, verb)
    results: list[FileResult] = []
    execution = ExecutionOptions(run.services.device, run.services.threads, run.models)
    with closing(map_files(operation, paths, execution)) as in_order:
        for result in in_order:
            results.append(result)
            run.progress(len(results) / len(paths), f"{verb} {len(results)} of {len(paths)} segments.")
    return results


def worker_placements(run: StageRun, files: int) -> list[WorkerPlacement]:
    """Return a placement for each process: on the host's GPUs among `gpu_numbers`, else `n_parts` on the cores."""
    threads = run.services.threads
    if run.services.device == "cuda":
        uuids = host_gpus()
        numbers = dict.fromkeys(str(number) for number in split_gpu_numbers(run.experiment.gpu_numbers))
        gpus = [uuids[number] for number in numbers if number in uuids][: max(1, files)]
        if len(gpus) < 2:
            return [WorkerPlacement(threads)]
        return [WorkerPlacement(max(1, threads // len(gpus)), gpu) for gpu in gpus]
    parts = max(1, min(int(run.config.get("n_parts", 1)), threads, files))
    return [WorkerPlacement(threads // parts) for _ in range(parts)]


def host_gpus() -> dict[str, str]:
    """Return number → UUID of the host's GPUs as the supervisor named them; empty when it did not start this worker."""
    pairs = (pair.partition("=") for pair in os.environ.get(GPUS, "").split(","))
    return {number: uuid for number, _, uuid in pairs if uuid}


def device_of_gpus(uuids: Sequence[str]) -> str:
    """Return the device of a process that sees these GPUs, which are all of one kind; `cpu` without any."""
    kind = "rocm" if os.environ.get("ROCR_VISIBLE_DEVICES") else "cuda"
    return f"{kind}:{','.join(uuids)}" if uuids else "cpu"


def _process_in_pool(
    run: StageRun, operation: FileOperation, paths: Sequence[Path], placements: Sequence[WorkerPlacement], verb: str
) -> list[FileResult]:
    """Give each process a strided partition of the files; the first one that fails ends all."""
    inbox: Inbox = queue.SimpleQueue()
    children: list[ChildProcess] = []
    results: dict[int, FileResult] = {}
    finished: set[ChildProcess] = set()
    errors: dict[ChildProcess, ReportedError] = {}
    with ExitStack() as stack:
        for number, placement in enumerate(placements):
            plan: WorkerPlan = {
                "operation": type(operation).__name__,
                "options": asdict(operation),
                "files": [(index, str(paths[index])) for index in range(number, len(paths), len(placements))],
                "device": "cuda" if placement.gpu else "cpu",
                "threads": placement.threads,
                "folder": str(run.folder),
            }
            child = ChildProcess(
                _PROGRAM,
                env=child_environment(threads=placement.threads)
                | visible_devices(device_of_gpus([placement.gpu] if placement.gpu else [])),
                input=orjson.dumps(plan),
                log=lambda line: logger.info("%s", line),
                inbox=inbox,
            )
            children.append(stack.enter_context(child))
            run.context.on_stop(child.kill)
        for child, received in merged_events(children, inbox):
            run.context.check()
            if received is None:
                child.wait()
                run.context.check()
                if child in errors:
                    raise error_from_report(errors[child])
                if child.returncode != 0 or child not in finished:
                    last_line = f": {child.log_tail[-1]}" if child.log_tail else ""
                    number = children.index(child) + 1
                    raise StageFailed(
                        f"Process {number} of {len(children)} for {run.stage} {child.describe_exit()}{last_line}.",
                        hint="Fewer processes (n_parts, gpu_numbers) take less memory.",
                        details={"log": list(child.log_tail)},
                    )
                continue
            event = cast(WorkerEvent, received)
            if event["event"] == "result":
                results[event["index"]] = event["result"]
                run.progress(len(results) / len(paths), f"{verb} {len(results)} of {len(paths)} segments.")
            elif event["event"] == "error":
                errors[child] = event
            else:
                finished.add(child)
    return [results[index] for index in range(len(paths))]
