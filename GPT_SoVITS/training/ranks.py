"""The processes (ranks) of one training: started, watched and ended together by a parent that loads no torch.

The parent passes on what the main rank (0) reports, and requests to it. A rank that fails or is killed ends all of
them, and is the one that is reported: the others only lose their connection to it.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from common.operating_system import USER_SIGNAL
from common.programs import bound_command, program_environment
from GPT_SoVITS.training import rank_environment as names
from GPT_SoVITS.training.program import DONE, FAILED, STOPPED_TO_RESUME, emit

logger = logging.getLogger(__name__)

ENDING_SECONDS: Final = 3.0
"""How long the others may take to end after the first failure; a GPU may wait for a lost rank forever."""


@dataclass(slots=True)
class _Rank:
    """One process of a training."""

    number: int
    process: subprocess.Popen[bytes]
    returncode: int | None = None
    error: dict[str, Any] | None = None
    """What it reported."""
    killed_here: bool = False


@dataclass(slots=True)
class _Ranks:
    """All of them, and what they send: (rank, line), and (rank, None) at its end."""

    ranks: list[_Rank] = field(default_factory=list)
    inbox: queue.SimpleQueue[tuple[_Rank, bytes | None]] = field(default_factory=queue.SimpleQueue)

    def start(self, number: int, command: Sequence[str], size: int, listener: socket.socket) -> None:
        environment = {
            **program_environment(os.environ),
            names.RANK: str(number),
            names.LOCAL_RANK: str(number),
            names.WORLD_SIZE: str(size),
            names.PORT: str(listener.getsockname()[1]),
            names.LISTENER: str(listener.fileno()) if number == 0 else "",
            names.REPORTED_BY_PARENT: "1",
        }
        # All ranks are on this host; its name need not resolve.
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform.startswith("linux") else "lo0")
        process = subprocess.Popen(
            bound_command(command),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            pass_fds=[listener.fileno()] if number == 0 else [],
        )
        rank = _Rank(number, process)
        self.ranks.append(rank)
        threading.Thread(target=self._read, args=(rank,), daemon=True).start()

    def signal_main(self, number: int) -> None:
        """Pass a request on to the main rank, which the others hear of before their next step."""
        if self.ranks and self.ranks[0].process.poll() is None:
            self.ranks[0].process.send_signal(number)

    def kill(self) -> None:
        for rank in self.ranks:
            if rank.process.poll() is None:
                rank.killed_here = True
                rank.process.kill()

    def watch(self) -> None:
        """Pass on what the main rank reports, until all have ended; end all soon after the first failure."""
        running, deadline = len(self.ranks), float("inf")
        while running:
            try:
                rank, line = self.inbox.get(timeout=None if deadline == float("inf") else deadline - time.monotonic())
            except (queue.Empty, ValueError):  # the deadline is now, or was before
                self.kill()
                deadline = float("inf")
                continue
            if line is None:
                running -= 1
                rank.returncode = rank.process.wait()
                failed = rank.returncode not in (DONE, STOPPED_TO_RESUME)
            else:
                failed = self._receive(rank, line)
            if failed and deadline == float("inf") and not rank.killed_here:
                deadline = time.monotonic() + ENDING_SECONDS

    def _receive(self, rank: _Rank, line: bytes) -> bool:
        """Keep an error and return True; pass on anything else of the main rank."""
        if not line.startswith(b"{"):  # a library's; NCCL logs to standard output
            sys.stderr.buffer.write(line)
            sys.stderr.flush()
            return False
        event = json.loads(line)
        if event["event"] == "error":
            rank.error = event
            return True
        if rank.number == 0:
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
        return False

    def _read(self, rank: _Rank) -> None:
        assert rank.process.stdout is not None
        with rank.process.stdout as output:
            for line in filter(bytes.strip, output):
                self.inbox.put((rank, line))
        self.inbox.put((rank, None))


def run_ranks(command: Sequence[str], size: int) -> int:
    """Run a training program in several processes and return its exit code.

    Args:
        command: starts one rank, which finds its number in the environment as torchrun sets it.
        size: how many there are.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    group = _Ranks()
    stopping = False

    def stop(number: int, _: object) -> None:
        nonlocal stopping
        stopping = True
        group.signal_main(number)

    signal.signal(signal.SIGTERM, stop)
    if USER_SIGNAL is not None:
        signal.signal(USER_SIGNAL, lambda number, _: group.signal_main(number))
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(size)
        stack.callback(group.kill)
        for number in range(size):
            group.start(number, command, size, listener)
        listener.close()  # the main rank has it
        if stopping:  # perhaps before there was a main rank to hear it
            group.signal_main(signal.SIGTERM)
        group.watch()
    codes = [rank.returncode for rank in group.ranks]
    if all(code == DONE for code in codes):
        return DONE
    if STOPPED_TO_RESUME in codes and all(code in (DONE, STOPPED_TO_RESUME) for code in codes):
        return STOPPED_TO_RESUME
    if stopping and codes[0] == -signal.SIGTERM:  # asked before it could hear: there is nothing new to save
        return STOPPED_TO_RESUME
    _report(group.ranks)
    return FAILED


def _report(ranks: Sequence[_Rank]) -> None:
    """Report the failure that the others followed from."""
    error = min((rank.error for rank in ranks if rank.error), key=_order, default=None)
    dead = [rank for rank in ranks if (rank.returncode or 0) < 0 and not rank.killed_here]
    # A rank that lost its connection may abort itself: that is no cause.
    killed = next((rank for rank in dead if rank.returncode != -signal.SIGABRT), None)
    if killed is None and error is None:
        killed = next(iter(dead), None)
    if killed is not None and (error is None or error["code"] == "training_failed"):
        name = signal.Signals(-(killed.returncode or 0)).name
        error = {
            "code": "training_failed",
            "message": f"Process {killed.number + 1} of the {len(ranks)} that train together was killed by {name}.",
            "hint": "It goes on from its last saved state when it is tried again.",
            "permanent": False,
            "killed_by": name,
        }
    if error is None:
        code = next(rank for rank in ranks if rank.returncode != DONE).returncode
        error = {
            "code": "training_failed",
            "message": f"A process of the {len(ranks)} that train together ended with exit code {code}.",
            "hint": "",
            "permanent": False,
        }
    logger.error("%s %s", error["message"], error["hint"])
    if trace := error.pop("trace", ""):
        logger.error("%s", trace)
    emit("error", **{name: value for name, value in error.items() if name not in ("event", "at")})


def _order(error: dict[str, Any]) -> tuple[bool, float]:
    """Sort errors that say what is wrong before those that may come of a lost connection, and earlier ones first."""
    return error["code"] == "training_failed", error["at"]
