"""Whether the device of a worker still computes: a CUDA context that an error has poisoned never recovers."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

from common.programs import TORCH_PROBE, program_command, program_environment
from core.child_process import LOG_TAIL_LINES

CHECK_SECONDS: Final = 120.0
"""A driver that loads for the first time takes half a minute."""
_OUT_OF_MEMORY: Final = "out of memory"
_CUDA_ERRORS: Final = ("CUDA error", "CUDNN_STATUS_", "CUBLAS_STATUS_", "device-side assert")


def poisons_device(error: BaseException) -> bool:
    """Return whether an error of a job, or its cause, is one after which CUDA refuses every call of the process."""
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause)
        if any(name in text for name in _CUDA_ERRORS) and _OUT_OF_MEMORY not in text and "ALLOC_FAILED" not in text:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def find_device_fault(device: str) -> str:
    """Return why this process cannot compute on its device (`cpu`, `cuda` or `mps`); empty when it can.

    Memory that is full for the moment is no fault. Where torch is not loaded, a child process tries.
    """
    if device == "cpu":
        return ""
    torch = sys.modules.get("torch")
    if torch is None:
        return _try_in_child(device)
    try:
        torch.ones(1, device=device).add_(1).item()
    except Exception as error:
        return "" if _OUT_OF_MEMORY in str(error) else _first_line(f"{type(error).__name__}: {error}")
    return ""


def _try_in_child(device: str) -> str:
    try:
        completed = subprocess.run(
            program_command(TORCH_PROBE, "compute", device),
            env=program_environment(os.environ),
            capture_output=True,
            text=True,
            timeout=CHECK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"a computation on it did not end within {CHECK_SECONDS:g} s"
    lines = [line for line in completed.stderr.splitlines()[-LOG_TAIL_LINES:] if line.strip()]
    last = next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else "it failed silently")
    return "" if completed.returncode == 0 or _OUT_OF_MEMORY in completed.stderr else _first_line(last)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
