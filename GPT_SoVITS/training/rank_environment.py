"""The environment variables by which the processes (ranks) of one training know each other; torchrun's and two more."""

from __future__ import annotations

import os
from typing import Final

RANK: Final = "RANK"
"""Number of the process; 0 is the main one."""
LOCAL_RANK: Final = "LOCAL_RANK"
"""The same on this host: the number of its GPU among those that it sees."""
WORLD_SIZE: Final = "WORLD_SIZE"
"""How many processes there are."""
LISTENER: Final = "TRAINING_LISTENER"
"""The main rank's descriptor of the port at which all meet, which their parent opened; empty for the others."""
PORT: Final = "MASTER_PORT"
"""The number of that port."""
REPORTED_BY_PARENT: Final = "TRAINING_REPORTED_BY_PARENT"
"""Whether the parent of the ranks logs and reports what failed."""


def number_of(name: str, default: int) -> int:
    """Return the value of one of these variables."""
    return int(os.environ.get(name) or default)
