"""Steps of a command, one line each with its time; as JSON lines where that is asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import orjson

from common.control_characters import escape_control_characters
from core.errors import SovitsError


@dataclass(slots=True)
class CommandStep:
    """A step of a backup, a restore or a switch."""

    name: str
    started_at: float
    seconds: float = 0.0
    detail: str = ""
    ok: bool = True


class StepLog:
    """Prints and keeps the steps of one command."""

    def __init__(self, *, as_json: bool = False, emit: Callable[[str], object] | None = None) -> None:
        self.as_json = as_json
        self.steps: list[CommandStep] = []
        self.warnings: list[str] = []
        self._emit = emit or _print

    @contextmanager
    def step(self, name: str) -> Iterator[CommandStep]:
        """Time a step; it is printed when it ends, with the reason when it fails."""
        step = CommandStep(name, time.time())
        clock = time.perf_counter()
        try:
            yield step
        except BaseException as error:
            step.ok = False
            step.detail = error.message if isinstance(error, SovitsError) else str(error) or type(error).__name__
            raise
        finally:
            step.seconds = round(time.perf_counter() - clock, 3)
            self.steps.append(step)
            self._write({"step": name, "ok": step.ok, "seconds": step.seconds, "detail": step.detail}, _line(step))

    def warn(self, message: str) -> None:
        """Print a warning."""
        self.warnings.append(message)
        self._write({"warning": message}, f"          warning: {message}")

    def result(self, fields: dict[str, object], sentence: str) -> None:
        """Print what came out in the end."""
        self._write(fields, sentence)

    def _write(self, fields: dict[str, object], line: str) -> None:
        if self.as_json:
            self._emit(orjson.dumps(fields).decode())
        else:
            for part in line.splitlines():
                self._emit(escape_control_characters(part))


def _line(step: CommandStep) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(step.started_at))
    state = "" if step.ok else "FAILED: "
    return f"{clock}  {step.name:<14} {step.seconds:>8.2f} s  {state}{step.detail}".rstrip()


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
