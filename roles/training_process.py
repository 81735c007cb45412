"""A training as a child process: JSON lines in, progress out, and an end that leaves nothing running."""

from __future__ import annotations

import logging
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import orjson

from core.errors import Draining, TrainingFailed
from core.process import signal_group, start_child
from roles.errors import from_code
from roles.stage_role import StageRun

logger = logging.getLogger(__name__)

STOPPED_TO_RESUME = 75
"""Exit code of a training that saved its state because it was asked to stop (EX_TEMPFAIL)."""
LAST_WORDS = 20
"""Lines of a dead training's log that its error quotes."""


class TrainingProcess:
    """One training program, run to its end for one job."""

    def __init__(self, module: str, plan: Path, run: StageRun) -> None:
        self.module = module
        self.plan = plan
        self.stage_run = run
        self.lines: queue.Queue[bytes | None] = queue.Queue()
        self.last_words: list[str] = []
        self.done: dict[str, Any] | None = None
        self.failure: dict[str, Any] | None = None

    def run_to_end(self) -> dict[str, Any]:
        """The program's `done` event; raises what it reported, Draining when it stopped to be resumed later."""
        self.process = start_child(
            [sys.executable, "-m", self.module, str(self.plan)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.stage_run.context.on_stop(self._kill)
        readers = [
            threading.Thread(target=self._read_events, args=(self.process.stdout,), daemon=True),
            threading.Thread(target=self._read_log, args=(self.process.stderr,), daemon=True),
        ]
        for reader in readers:
            reader.start()
        try:
            self._follow()
            code = self.process.wait()
        finally:
            self._kill()
            for reader in readers:
                reader.join()
            for pipe in (self.process.stdout, self.process.stderr):
                if pipe is not None:
                    pipe.close()
        return self._outcome(code)

    def _follow(self) -> None:
        """Handle events until the program closes its output; pass a drain on to it."""
        asked_to_stop = False
        while True:
            try:
                line = self.lines.get(timeout=0.5)
            except queue.Empty:
                line = b""
            if line is None:
                return
            if line:
                self._handle(orjson.loads(line))
            self.stage_run.context.check()
            if self.stage_run.context.draining.is_set() and not asked_to_stop:
                logger.info("Asking the training to save its state.")
                self.process.send_signal(signal.SIGTERM)
                asked_to_stop = True

    def _handle(self, event: dict[str, Any]) -> None:
        kind = event.pop("event")
        if kind == "progress":
            message = f"Epoch {event['epoch']} of {event['total_epochs']}."
            self.stage_run.progress(
                event["fraction"],
                message,
                epoch=event["epoch"],
                total_epochs=event["total_epochs"],
                loss=event["loss"],
            )
        elif kind == "checkpoint":
            self.stage_run.context.event(
                "checkpoint", {"epoch": event["epoch"], "model_path": Path(event["path"]).name}
            )
        elif kind == "done":
            self.done = event
        elif kind == "error":
            self.failure = event

    def _outcome(self, code: int) -> dict[str, Any]:
        self.stage_run.context.check()
        if self.failure is not None:
            failure = self.failure
            raise from_code(
                failure["code"],
                failure["message"],
                failure.get("hint", ""),
                permanent=failure.get("permanent", False),
            )
        if code == STOPPED_TO_RESUME:
            raise Draining("The training saved its state and goes on later.")
        if code == 0 and self.done is not None:
            return self.done
        ended = f"was killed by signal {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        raise TrainingFailed(
            f"The training process {ended}.",
            hint="It goes on from its last saved epoch when it is tried again.",
            details={"log": self.last_words},
        )

    def _kill(self) -> None:
        if self.process.poll() is None:
            signal_group(self.process.pid)

    def _read_events(self, output: IO[bytes]) -> None:
        for line in output:
            self.lines.put(line)
        self.lines.put(None)

    def _read_log(self, output: IO[bytes]) -> None:
        for line in output:
            text = line.decode(errors="replace").rstrip()
            self.last_words = [*self.last_words[1 - LAST_WORDS :], text]
            logger.info("%s", text)
