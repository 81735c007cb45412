"""The service of this host: started, found and stopped by a command of the operator, or as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Final

import orjson

from common.operating_system import is_alive, lock_file
from common.programs import product_command
from core.errors import NotReady
from core.host_control import supervisor_lock
from core.settings import Settings
from recovery.standby.hooks import run_hook
from recovery.standby.site import FOLDER

STOP_SECONDS: Final = 200.0
"""More than a drain takes."""
ANNOUNCE_SECONDS: Final = 120.0


class LocalService:
    """The daemon on the data folder of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def start(self) -> str:
        """Start the service unless it runs; return how."""
        if self.is_running():
            return "it runs already"
        if self._settings.standby_start_command:
            run_hook("STANDBY_START_COMMAND", self._settings.standby_start_command, seconds=ANNOUNCE_SECONDS)
            return "STANDBY_START_COMMAND ran"
        folder = self._settings.data_path / FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._settings.data_path / "run" / "api.json").unlink(missing_ok=True)
        with (folder / "serve.log").open("ab") as log:
            process = subprocess.Popen(
                product_command("serve"),
                env={**os.environ, "DATA_PATH": str(self._settings.data_path), "EXIT_WITH_PARENT": "false"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        process.returncode = 0  # it is to outlive this process, which does not wait for it
        return f"process {process.pid}, log in {folder / 'serve.log'}"

    def stop(self) -> str:
        """Stop the service and wait until it has ended."""
        if self._settings.standby_stop_command:
            run_hook("STANDBY_STOP_COMMAND", self._settings.standby_stop_command, seconds=STOP_SECONDS)
            return "STANDBY_STOP_COMMAND ran"
        pid = self._pid()
        if not pid:
            return "it does not run"
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while is_alive(pid):
            if time.monotonic() > deadline:
                raise NotReady(f"The service (process {pid}) does not stop.", hint=f"kill -9 {pid}")
            time.sleep(0.1)
        return f"process {pid} has ended"

    def is_running(self) -> bool:
        """Return whether a daemon works on the data folder."""
        return self._pid() != 0

    def url(self) -> str:
        """Return the address of the API; wait for a daemon that starts to announce it."""
        path = self._settings.data_path / "run" / "api.json"
        deadline = time.monotonic() + ANNOUNCE_SECONDS
        while True:
            try:
                document = orjson.loads(path.read_bytes())
                if is_alive(int(document["pid"])):
                    return str(document["url"])
            except (OSError, ValueError, KeyError):
                pass
            if time.monotonic() > deadline:
                raise NotReady(
                    "The service has not started.", hint=f"Look into {self._settings.data_path / FOLDER / 'serve.log'}."
                )
            time.sleep(0.1)

    def _pid(self) -> int:
        """Return the process that holds the lock of the data folder; 0 when none does."""
        try:
            with supervisor_lock(self._settings.data_path).open("r") as file:
                try:
                    lock_file(file, shared=True, wait=False)
                except BlockingIOError:
                    return int(file.read() or 0)
        except (OSError, ValueError):
            pass
        return 0
