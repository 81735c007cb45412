"""Commands of the operator that a switch runs: fencing, starting, DNS, traffic, mail."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import Final

from core.errors import SovitsError

HOOK_SECONDS: Final = 60.0
PREFIX: Final = "SOVITSD_"


class HookFailed(SovitsError):
    """A command of the operator that ended with an error."""

    code = "hook_failed"


def run_hook(setting: str, command: str, *arguments: str, seconds: float = HOOK_SECONDS, **values: str) -> str:
    """Run a command and return its output; `values` are `SOVITSD_…` in its environment, `arguments` come behind.

    Raises:
        HookFailed: it cannot be started, ends with an error, or takes too long.
    """
    environment = {**os.environ, **{f"{PREFIX}{name.upper()}": value for name, value in values.items()}}
    try:
        result = subprocess.run(
            [*shlex.split(command), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise HookFailed(f"{setting} did not work: {error}", hint=f"Try it by hand: {command}") from None
    if result.returncode != 0:
        tail = (result.stderr or result.stdout).strip().splitlines()[-3:]
        reason = " ".join(tail) or "no output"
        raise HookFailed(f"{setting} ended with {result.returncode}: {reason}", hint=f"Try it by hand: {command}")
    return result.stdout.strip()
