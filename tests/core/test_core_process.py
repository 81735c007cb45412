"""Children that die with their parent, and as a group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from process_end import wait_for_end

from common.operating_system import is_alive
from core.jobs.worker_process import worker_id_of
from core.process import child_environment, start_child, stop_group, thread_limits

REPOSITORY = Path(__file__).resolve().parents[2]

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's parent-death signal")


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


@linux
def test_a_training_dies_with_the_trainer_that_started_it():
    trainer = subprocess.Popen(
        python(
            """
            import sys
            from core.process import start_child
            training = start_child([sys.executable, "-c", "import signal; signal.pause()"])
            print(training.pid, flush=True)
            training.wait()
            """
        ),
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    assert trainer.stdout is not None
    training = int(trainer.stdout.readline())
    assert is_alive(training)

    trainer.kill()
    trainer.wait()
    trainer.stdout.close()

    assert wait_for_end(training)


@linux
def test_a_launcher_whose_parent_is_already_gone_starts_nothing():
    launched = subprocess.run(
        [sys.executable, "-I", "-S", str(REPOSITORY / "common" / "parent_death.py"), "1", "echo", "started"],
        capture_output=True,
        check=False,
    )

    assert launched.returncode == 1
    assert launched.stdout == b""


def test_a_program_that_is_not_there_is_named():
    child = start_child(["no-such-program"], stderr=subprocess.PIPE)
    _, message = child.communicate()

    assert child.returncode == 1
    assert b"Cannot start no-such-program" in message


def test_stopping_a_child_takes_what_it_started_with_it():
    child = start_child(
        python(
            """
            import subprocess, sys
            grandchild = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
            print(grandchild.pid, flush=True)
            grandchild.wait()
            """
        ),
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    grandchild = int(child.stdout.readline())

    code = stop_group(child, grace_seconds=5)
    child.stdout.close()

    assert code == -signal.SIGTERM
    assert wait_for_end(grandchild)


def test_a_child_that_ignores_sigterm_is_killed():
    child = start_child(
        python(
            """
            import signal
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("deaf", flush=True)
            signal.pause()
            """
        ),
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.readline()

    code = stop_group(child, grace_seconds=0.1)
    child.stdout.close()

    assert code == -signal.SIGKILL


def test_a_mark_tells_a_process_from_a_later_one_under_its_pid():
    child = start_child([*python("import signal; print(flush=True); signal.pause()"), "c0ffee"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()

    assert is_alive(child.pid, mark="c0ffee")
    assert not is_alive(child.pid, mark="another")

    stop_group(child, grace_seconds=5)
    child.stdout.close()

    assert not is_alive(child.pid)


def test_a_childs_environment_limits_every_number_library():
    environment = child_environment(threads=3, EXTRA="1")

    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "3"
    assert environment["EXTRA"] == "1"
    assert environment["PATH"] == os.environ["PATH"]
    assert thread_limits(0)["OMP_NUM_THREADS"] == "1"


def test_a_worker_id_names_role_host_pid_and_nonce():
    assert worker_id_of("trainer", 42, "c0ffee") == f"trainer-{os.uname().nodename}-42-c0ffee"
