"""The files of a stage, done here or shared out to processes: on several GPUs, or on the cores of a CPU.

Each file is done by itself and in the same way, so the result does not depend on how many share the work.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from core.errors import StageFailed, error_from_code
from core.jobs.worker_process import GPUS
from core.process import child_environment, signal_group, start_child
from core.settings import REPOSITORY
from roles.preprocessing.file_tasks import Means, do_each
from roles.stages.stage_role import StageRun

logger = logging.getLogger(__name__)

LAST_WORDS: Final = 20
"""Lines of a dead process's log that its error quotes."""
_PROGRAM: Final = (sys.executable, "-m", "roles.preprocessing.pool_worker")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one process works."""

    threads: int
    gpu: str = ""
    """UUID; empty: the CPU."""


def do_all(
    run: StageRun, work: str, paths: Sequence[Path], options: dict[str, Any], *, verb: str
) -> list[dict[str, Any]]:
    """Do the work (a name in WORKS) on every file; the answers in the order of the files.

    Progress reads `<verb> 3 of 7 segments.` Raises StageFailed when a process dies, what it says when it fails.
    """
    places = places_of(run, len(paths))
    if len(places) > 1:
        logger.info("%s: %d files, shared by %d processes.", run.stage, len(paths), len(places))
        return Shares(run, work, paths, options, verb).run_to_end(places)
    answers: list[dict[str, Any]] = []
    with closing(do_each(work, paths, options, Means(run.services.device, run.services.threads, run.models))) as done:
        for answer in done:
            answers.append(answer)
            _tell(run, verb, len(answers), len(paths))
    return answers


def places_of(run: StageRun, files: int) -> list[Place]:
    """One place a process: the GPUs of `gpu_numbers` that this host has, else `n_parts`, as far as the cores go."""
    threads = run.services.threads
    if run.services.device == "cuda":
        known = host_gpus()
        numbers = dict.fromkeys(re.findall(r"\d+", run.experiment.gpu_numbers))
        gpus = [known[number] for number in numbers if number in known][: max(1, files)]
        return [Place(max(1, threads // len(gpus)), gpu) for gpu in gpus] if len(gpus) > 1 else [Place(threads)]
    parts = max(1, min(int(run.config.get("n_parts", 1)), threads, files))
    return [Place(threads // parts) for _ in range(parts)]


def host_gpus() -> dict[str, str]:
    """Number → UUID, as the supervisor knows them; nothing in a worker that was started by hand."""
    pairs = (pair.partition("=") for pair in os.environ.get(GPUS, "").split(","))
    return {number: uuid for number, _, uuid in pairs if uuid}


@dataclass(slots=True)
class _Child:
    """One process and its share: every so many-th file, so that all have about the same to do."""

    number: int
    process: subprocess.Popen[bytes]
    plan: bytes
    done: bool = False
    error: dict[str, Any] | None = None
    last_words: list[str] = field(default_factory=list)
    readers: list[threading.Thread] = field(default_factory=list)


class Shares:
    """One stage's files over several processes; all of them end with it, however it ends."""

    def __init__(self, run: StageRun, work: str, paths: Sequence[Path], options: dict[str, Any], verb: str) -> None:
        self.run = run
        self.work = work
        self.paths = [str(path) for path in paths]
        self.options = options
        self.verb = verb
        self.children: list[_Child] = []
        self.lines: queue.Queue[tuple[_Child, bytes | None]] = queue.Queue()
        self.answers: dict[int, Any] = {}

    def run_to_end(self, places: Sequence[Place]) -> list[dict[str, Any]]:
        """The answers in the order of the files."""
        self.run.context.on_stop(self._kill)
        try:
            for number, place in enumerate(places):
                self._start(number, place, len(places))
            self._follow()
        finally:
            self._kill()
            for child in self.children:
                child.process.wait()
                for reader in child.readers:
                    reader.join()
        return [self.answers[index] for index in range(len(self.paths))]

    def _start(self, number: int, place: Place, count: int) -> None:
        files = [(index, self.paths[index]) for index in range(number, len(self.paths), count)]
        device = "cuda" if place.gpu else "cpu"
        plan = {"work": self.work, "options": self.options, "files": files, "device": device, "threads": place.threads}
        process = start_child(
            _PROGRAM,
            env=child_environment(threads=place.threads, CUDA_VISIBLE_DEVICES=place.gpu),
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        child = _Child(number, process, orjson.dumps({**plan, "folder": str(self.run.folder)}))
        self.children.append(child)
        for target in (self._read_answers, self._read_log):
            child.readers.append(threading.Thread(target=target, args=(child,), daemon=True))
            child.readers[-1].start()

    def _follow(self) -> None:
        """Take answers until every process has closed its output; the first that fails ends all."""
        at_work = len(self.children)
        while at_work:
            self.run.context.check()
            child, line = self.lines.get()
            if line is None:
                at_work -= 1
                self._check_end(child)
                continue
            self._take(child, orjson.loads(line))

    def _take(self, child: _Child, said: dict[str, Any]) -> None:
        if "answer" in said:
            self.answers[said["file"]] = said["answer"]
            _tell(self.run, self.verb, len(self.answers), len(self.paths))
        elif "error" in said:
            child.error = said["error"]
        else:
            child.done = True

    def _check_end(self, child: _Child) -> None:
        code = child.process.wait()
        self.run.context.check()
        if child.error is not None:
            error = child.error
            raise error_from_code(error["code"], error["message"], hint=error["hint"], permanent=error["permanent"])
        if code == 0 and child.done:
            return
        child.readers[-1].join()  # its last words
        ended = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        last = f": {child.last_words[-1]}" if child.last_words else ""
        raise StageFailed(
            f"Process {child.number + 1} of {len(self.children)} for {self.run.stage} {ended}{last}.",
            hint="Fewer processes (n_parts, gpu_numbers) take less memory.",
            details={"log": list(child.last_words)},
        )

    def _kill(self) -> None:
        for child in self.children:
            if child.process.poll() is None:
                signal_group(child.process.pid)

    def _read_answers(self, child: _Child) -> None:
        assert child.process.stdin is not None
        assert child.process.stdout is not None
        try:
            with child.process.stdin as file:
                file.write(child.plan)
        except BrokenPipeError:
            logger.debug("Process %d ended before it was told what to do.", child.number + 1)
        with child.process.stdout as output:
            for line in output:
                self.lines.put((child, line))
        self.lines.put((child, None))

    def _read_log(self, child: _Child) -> None:
        assert child.process.stderr is not None
        with child.process.stderr as output:
            for line in output:
                text = line.decode(errors="replace").rstrip()
                child.last_words = [*child.last_words[1 - LAST_WORDS :], text]
                logger.info("%s", text)


def _tell(run: StageRun, verb: str, done: int, count: int) -> None:
    run.progress(done / count, f"{verb} {done} of {count} segments.")
