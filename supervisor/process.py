"""One child process: bound to this process, its log passed on, ended with its whole group."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence

from common.operating_system import USER_SIGNAL, signal_group, signal_process
from core.log_output import LOG_OUTPUT
from core.process import bound_command

LOG_TAIL_LINES = 20
"""Lines of a child's log that are kept to explain its end."""


class Child:
    """A running child. `Child.start` makes one, in the thread that lives as long as the child should."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self.started_at = time.monotonic()
        self.log_tail: deque[str] = deque(maxlen=LOG_TAIL_LINES)
        self._process = process
        self._reader = asyncio.create_task(self._copy_log())

    @classmethod
    async def start(cls, command: Sequence[str], env: Mapping[str, str], *, keep_stdout: bool = False) -> Child:
        """Start a child in a session of its own, so that Ctrl-C reaches only the supervisor.

        `keep_stdout`: whether its standard output is ours, and no part of its log.
        """
        return cls(
            await asyncio.create_subprocess_exec(
                *bound_command(command),
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=None if keep_stdout else asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE if keep_stdout else asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        )

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started_at

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> int:
        """Wait until the child and all of its group are gone; return its exit code (negative: the signal)."""
        code = await self._process.wait()
        signal_group(self.pid)
        # Its last lines are in the pipe already; a grandchild that keeps the pipe open is not waited for.
        await asyncio.wait({self._reader}, timeout=0.5)
        return code

    def terminate(self) -> None:
        """Send SIGTERM to the child alone, which ends what it has started itself."""
        if self.running:
            signal_process(self.pid, signal.SIGTERM)

    def announce_end(self) -> None:
        """Send the signal by which the API learns that it is going to end, to the child alone."""
        if self.running:
            signal_process(self.pid, USER_SIGNAL)

    def kill(self) -> None:
        """Send SIGKILL to the child and its group."""
        signal_group(self.pid)

    def explain(self, code: int) -> str:
        """Describe an exit code, with the last line of the log."""
        ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        last = next((line for line in reversed(self.log_tail) if line.strip()), "")
        return f"{ended}: {last.strip()}" if last else ended

    async def _copy_log(self) -> None:
        """Copy the child's log to our own and keep its tail."""
        output = self._process.stdout or self._process.stderr
        assert output is not None
        unfinished = b""
        while chunk := await output.read(65536):
            LOG_OUTPUT.write_bytes(chunk)
            *lines, unfinished = (unfinished + chunk).split(b"\n")
            unfinished = unfinished[-4096:]  # a progress bar never ends its line
            self.log_tail.extend(line.decode(errors="replace") for line in lines)
        if unfinished:
            self.log_tail.append(unfinished.decode(errors="replace"))
