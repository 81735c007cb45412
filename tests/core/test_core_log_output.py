"""A log that nobody reads, or whose reader is gone, holds up nothing."""

from __future__ import annotations

import os
import threading

from core.log_output import MAX_PENDING_BYTES, BackgroundWriter

LINE = b"x" * 1023 + b"\n"


def read_all(descriptor: int, received: list[bytes]) -> None:
    while chunk := os.read(descriptor, 1 << 20):
        received.append(chunk)


def test_lines_arrive_in_order() -> None:
    reading, writing = os.pipe()
    writer = BackgroundWriter(writing)

    for number in range(1000):
        writer.write(b"%d\n" % number)
    writer.flush(10)
    os.close(writing)

    received: list[bytes] = []
    read_all(reading, received)
    assert b"".join(received).split() == [b"%d" % number for number in range(1000)]
    os.close(reading)


def test_a_reader_that_comes_late_finds_how_many_lines_were_dropped() -> None:
    reading, writing = os.pipe()
    writer = BackgroundWriter(writing)
    count = 2 * MAX_PENDING_BYTES // len(LINE)

    for _ in range(count):  # much more than pipe and memory hold; it returns all the same
        writer.write(LINE)
    received: list[bytes] = []
    reader = threading.Thread(target=read_all, args=(reading, received))
    reader.start()
    writer.flush(10)
    writer.write(b"the end\n")
    writer.flush(10)
    os.close(writing)
    reader.join()

    *lines, end = b"".join(received).splitlines()
    notes = [line for line in lines if b" lines of the log were dropped here: nobody read them." in line]
    lines = [line for line in lines if line not in notes]
    assert end == b"the end"
    assert notes
    assert sum(int(note.split()[0]) for note in notes) == count - len(lines)
    assert len(lines) * len(LINE) <= MAX_PENDING_BYTES + (1 << 20)
    os.close(reading)


def test_a_reader_that_is_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    writer = BackgroundWriter(writing)
    os.close(reading)

    writer.write(LINE)
    writer.flush(10)
    writer.write(LINE)
    writer.flush(10)

    os.close(writing)
