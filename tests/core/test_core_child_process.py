"""Child programs that report in JSON lines: what they send, what they log, and that nothing of them stays."""

from __future__ import annotations

import queue
import sys
from typing import cast

import pytest

from core.child_process import ChildProcess, Inbox, isolated_environment, merged_events


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_events_come_in_order_and_the_log_keeps_its_last_lines() -> None:
    logged: list[str] = []
    program = "import sys\nfor n in range(30): print('{\"n\": %d}' % n); print('line', n, file=sys.stderr)\nprint()"

    with ChildProcess(python(program), log=logged.append) as child:
        events = list(child.events())
        code = child.wait()

    assert events == [{"n": number} for number in range(30)]
    assert (code, child.describe_exit()) == (0, "ended with exit code 0")
    assert logged == [f"line {number}" for number in range(30)]
    assert child.log_tail == logged[-20:]


def test_a_child_reads_its_input_and_may_leave_it_unread() -> None:
    echo = "import sys, json; print(json.dumps({'read': len(sys.stdin.read())}))"

    with ChildProcess(python(echo), input=b"x" * 1_000_000) as child:
        assert list(child.events()) == [{"read": 1_000_000}]
    with ChildProcess(python("pass"), input=b"x" * 1_000_000) as child:
        assert list(child.events()) == []


def test_a_child_whose_input_stays_open_gets_line_after_line() -> None:
    double = "import sys, json\nfor line in sys.stdin: print(json.dumps({'n': 2 * json.loads(line)['n']}), flush=True)"

    with ChildProcess(python(double), keep_input_open=True) as child:
        doubled = []
        for number in (1, 2):
            child.send({"n": number})
            doubled.append(next(child.events()))
        child.end_input()
        rest, code = list(child.events()), child.wait()

    assert doubled == [{"n": 2}, {"n": 4}]
    assert (rest, code) == ([], 0)


def test_what_is_sent_to_a_child_that_has_ended_is_lost() -> None:
    with ChildProcess(python("pass"), keep_input_open=True) as child:
        child.wait()
        child.send({"n": 1})

    assert child.returncode == 0


def test_a_silent_child_is_polled_and_ends_with_the_block() -> None:
    with ChildProcess(python("import time; print('{\"n\": 1}', flush=True); time.sleep(600)")) as child:
        for event in child.events(0.05):
            if event is None and child.has_reported:
                break

    assert child.killed_by == "SIGKILL"


def test_children_with_one_inbox_are_read_as_they_report() -> None:
    inbox: Inbox = queue.SimpleQueue()
    children = [ChildProcess(python(f"print('{{\"child\": {number}}}')"), inbox=inbox) for number in range(3)]

    events = list(merged_events(children, inbox))
    for child in children:
        child.wait()

    assert [sum(event is None for owner, event in events if owner is child) for child in children] == [1, 1, 1]
    assert sorted(cast(int, event["child"]) for _, event in events if event is not None) == [0, 1, 2]


def test_an_isolated_child_sees_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALID_API_KEYS", "secret")
    monkeypatch.setenv("HOME", "/home/someone")

    environment = isolated_environment(threads=2, keep=("HOME",))

    assert "VALID_API_KEYS" not in environment
    assert (environment["HOME"], environment["OMP_NUM_THREADS"]) == ("/home/someone", "2")
