"""What a switch and a return have in common: steps, of which those that were done are not done again."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Literal, TypeAlias

from filelock import FileLock, Timeout

from common.program_name import program_name
from core.errors import Conflict, SovitsError
from core.settings import Settings
from recovery.backup.steps import StepLog
from recovery.standby.audit_chain import AuditChain
from recovery.standby.site import StandbyFolder, SwitchState

Step: TypeAlias = tuple[str, Callable[[], str]]
"""Its name, and what does it and returns what is worth to be told."""


class Procedure(ABC):
    """Steps that change which site serves; the same command goes on where one of them failed."""

    kind: ClassVar[Literal["switch", "return"]]

    def __init__(self, settings: Settings, steps: StepLog, *, accept_difference: bool = False) -> None:
        self.settings = settings
        self.steps = steps
        self.state = SwitchState()
        self._accept_difference = accept_difference
        self._folder = StandbyFolder(settings.data_path)
        self._audit = AuditChain(settings.data_path)

    def run(self) -> SwitchState:
        """Do the steps, or go on where they were interrupted; return how it went.

        Raises:
            Conflict: a switch or a return of this site is under way.
            SovitsError: a step failed; the same command goes on with it.
        """
        with self._lock():
            self.state = self._begin()
            for name, action in self._planned_steps():
                if name not in self.state.done:
                    self._do(name, action)
            self.state.finished_at = time.time()
            self._folder.write(self.state)
        return self.state

    @property
    @abstractmethod
    def _command(self) -> str:
        """The command that goes on with it."""

    @property
    @abstractmethod
    def _purpose(self) -> str:
        """What the audit log says of its beginning."""

    @abstractmethod
    def _planned_steps(self) -> Sequence[Step]:
        """Return all steps in their order."""

    @abstractmethod
    def _goes_on(self, before: SwitchState) -> bool:
        """Return whether an interrupted one of this kind can go on; else it begins anew."""

    @abstractmethod
    def _check_other(self, before: SwitchState) -> None:
        """Raise Conflict when an interrupted one of the other kind must come to its end first."""

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self._folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(self._folder.path / "switch.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise Conflict(
                "Another switch of this site is under way.",
                hint=f"`{program_name()} standby status` says how far it is.",
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _begin(self) -> SwitchState:
        before = self._folder.read(SwitchState)
        if before is not None and before.kind and not before.finished_at:
            if before.kind != self.kind:
                self._check_other(before)
            elif self._goes_on(before):
                return before
        self._audit.append(self.kind, self._purpose)
        state = SwitchState(kind=self.kind, started_at=time.time())
        self._folder.write(state)
        return state

    @abstractmethod
    def _undo(self, failed_step: str) -> None:
        """Take back what must not last until the same command is run again."""

    def _do(self, name: str, action: Callable[[], str]) -> None:
        try:
            with self.steps.step(name) as step:
                step.detail = action()
        except SovitsError as error:
            self._undo(name)
            self.state.failed_step, self.state.error = name, error.message
            self._folder.write(self.state)
            self._audit.append(f"{self.kind}: {name}", error.message, "failed")
            error.hint = f"{error.hint} Then go on: {self._command}".strip()
            raise
        self.state.failed_step = self.state.error = ""
        self.state.done.append(name)
        self._folder.write(self.state)
        self._audit.append(f"{self.kind}: {name}", step.detail)
