"""Lines of the log: one event is one line, whatever its parts hold."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import orjson
import pytest

from core.logs import configure_logs, current_job, current_request

logger = logging.getLogger("a.line")
FORGED = "bob\n[2026-01-01T00:00:00.000Z] [ERROR] [core] [1] The disk is full.\r\x1b[2J\u2028\u202e\ud800"


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_control_characters_are_escaped_in_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()

    logger.info("The voice %s is ready.", FORGED)

    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("The disk is full.\\r\\x1b[2J\\u2028\\u202e\\ud800 is ready.")
    assert line.isprintable()


def test_control_characters_are_escaped_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json")

    logger.info("The voice %s is ready.", FORGED)

    [line] = capsys.readouterr().err.split("\n")[:-1]
    assert orjson.loads(line)["message"].startswith("The voice bob\n[2026")


def test_both_formats_have_the_time_with_its_zone(capsys: pytest.CaptureFixture[str]) -> None:
    before = datetime.now(UTC).replace(microsecond=0)

    configure_logs("json")
    logger.info("Now.")
    configure_logs("text")
    logger.info("Now.")

    in_json, in_text = capsys.readouterr().err.splitlines()
    for stamp in (orjson.loads(in_json)["time"], in_text[1:25]):
        assert stamp.endswith("Z")
        assert before <= datetime.fromisoformat(stamp) <= datetime.now(UTC)


def test_no_line_of_a_traceback_passes_for_a_line_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()

    try:
        raise ValueError(FORGED)
    except ValueError:
        logger.exception("It failed.")

    first, *trace = capsys.readouterr().err.split("\n")[:-1]
    assert first.endswith("It failed.")
    assert trace[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in trace)


def test_lines_name_the_job_and_the_request(capsys: pytest.CaptureFixture[str]) -> None:
    markers = current_job.set("job-1"), current_request.set("req-1")
    try:
        configure_logs()
        logger.info("Working.")
        configure_logs("json")
        logger.info("Working.")
    finally:
        current_job.reset(markers[0])
        current_request.reset(markers[1])

    text, json = capsys.readouterr().err.splitlines()
    assert text.endswith("(job-1 req-1) Working.")
    assert (orjson.loads(json)["job"], orjson.loads(json)["request_id"]) == ("job-1", "req-1")
