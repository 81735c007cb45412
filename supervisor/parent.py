"""The end of whoever started the server: a desktop shell that was killed leaves no server behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import sys
import threading
from typing import Final

from common.operating_system import parent_is_alive

CHECK_SECONDS: Final = 0.5


async def wait_for_end_of_parent() -> str:
    """Wait until standard input, if it is a pipe, is closed or the parent process is gone; return what happened."""
    parent = os.getppid()
    closed = asyncio.create_task(_wait_for_closed_input())
    try:
        while parent_is_alive(parent):
            await asyncio.wait({closed}, timeout=CHECK_SECONDS)
            if closed.done() and closed.result():
                return "its standard input was closed"
        return "its parent process has ended"
    finally:
        closed.cancel()


async def _wait_for_closed_input() -> bool:
    """Return True at the end of a pipe or socket; False at once for anything else, which tells nothing."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return False
    if sys.platform == "win32":  # an event loop cannot read these pipes there
        return await _wait_in_thread()
    reader = asyncio.StreamReader()
    input_pipe = os.fdopen(os.dup(0), "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), input_pipe
    )
    try:
        while await reader.read(65536):
            continue
        return True
    finally:
        transport.close()


async def _wait_in_thread() -> bool:
    """Return True once standard input has ended; a thread that nothing waits for reads it."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def read() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 65536):
                continue
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=read, name="standard input", daemon=True).start()
    return await ended.wait()
