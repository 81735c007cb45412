"""In the place of a training program: one that is killed before it says a word."""

from __future__ import annotations

import os
import signal

if __name__ == "__main__":
    os.kill(os.getpid(), signal.SIGKILL)
