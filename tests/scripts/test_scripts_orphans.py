"""Programs that a script has started end with it, however it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from process_children import children_of
from process_end import wait_for_end

from common.repository import REPOSITORY

pytestmark = pytest.mark.slow
SECONDS = 120.0
SPEAKING = """
import sys
from pathlib import Path
from scripts.train_base.data import speak
speak(Path(sys.argv[1]), [{"file": "none.wav"}], [Path(sys.executable), Path(sys.argv[2])])
"""
SPEAKER = """
import os, signal, sys
print(sys.stdin.read(), os.getpid(), file=sys.stderr, flush=True)
signal.pause()
"""
SERVING = """
import sys
from pathlib import Path
from scripts.demo_daemon import Daemon
with Daemon(Path(sys.argv[1]) / "data", Path(sys.argv[1]) / "log"):
    pass
"""


def start(code: str, *arguments: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL])
def test_what_speaks_for_the_base_model_ends_with_the_script(tmp_path: Path, signal_number: int) -> None:
    (tmp_path / "speaker.py").write_text(SPEAKER)
    script = start(SPEAKING, tmp_path, tmp_path / "speaker.py")
    assert script.stderr is not None
    job, pid = script.stderr.readline().strip(), int(script.stderr.readline())
    script.send_signal(signal_number)

    script.wait(SECONDS)
    script.stderr.close()
    assert job == '{"file": "none.wav"}'
    assert wait_for_end(pid, SECONDS)


def test_the_daemon_of_the_demo_ends_with_it(tmp_path: Path) -> None:
    script = start(SERVING, tmp_path)
    deadline = time.monotonic() + SECONDS
    while not (pids := [pid for pid, command in children_of(script.pid).items() if "main.py serve" in command]):
        assert script.poll() is None
        assert time.monotonic() < deadline
    script.kill()

    script.communicate()
    assert wait_for_end(pids[0], SECONDS)
