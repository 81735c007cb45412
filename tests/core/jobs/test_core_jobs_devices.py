"""Device constraints: how they are named, and which devices meet them."""

from __future__ import annotations

import pytest
from training_claims import claim, train

from core.errors import InvalidParameter, InvalidRequest
from core.jobs.devices import check_constraint, meets_constraint, parse_device, prefer_gpus
from core.jobs.job import WorkerLocation
from core.jobs.queue import Queue


@pytest.mark.parametrize(
    ("text", "device"), [("", ""), (None, ""), ("auto", ""), ("CPU", "cpu"), (" cuda ", "cuda"), ("cuda:3", "cuda:3")]
)
def test_devices_are_named_in_one_way(text: str | None, device: str):
    assert parse_device(text) == device


@pytest.mark.parametrize("text", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:100", "cpu:0", "cuda:1,2"])
def test_other_names_are_refused(text: str):
    with pytest.raises(InvalidParameter, match="device is"):
        parse_device(text)


@pytest.mark.parametrize(
    ("constraint", "suited"),
    [
        ("", {"cpu", "cuda:0", "cuda:1", "cuda:10"}),
        ("cpu", {"cpu"}),
        ("cuda", {"cuda:0", "cuda:1", "cuda:10"}),
        ("cuda:1", {"cuda:1"}),
        ("cuda:0-10", {"cuda:0", "cuda:10"}),
    ],
)
def test_people_and_the_queue_agree_on_what_fits(queue: Queue, constraint: str, suited: set[str]):
    devices = ("cpu", "cuda:0", "cuda:1", "cuda:10")

    claimed = set()
    for device in devices:
        train(queue, f"job on {device}", device=constraint)
        lease = claim(queue, f"worker {device}", WorkerLocation("host", device))
        if lease is not None:
            claimed.add(device)
            queue.ack(lease, {})

    assert claimed == {device for device in devices if meets_constraint(device, constraint)} == suited


def test_a_device_that_no_host_has_is_refused_with_what_there_is():
    with pytest.raises(InvalidRequest, match="No host has the GPU cuda:4") as refused:
        check_constraint("cuda:4", {"cuda:0", "cpu"})

    assert "cpu, cuda:0" in refused.value.hint


@pytest.mark.parametrize(
    ("constraint", "devices"), [("cuda:4", set()), ("cuda", {"cuda:7"}), ("", {"cpu"}), ("cpu", {"cpu"})]
)
def test_a_device_that_may_come_or_is_there_is_accepted(constraint: str, devices: set[str]):
    check_constraint(constraint, devices)


@pytest.mark.parametrize(
    ("numbers", "devices", "constraint"),
    [
        ("0", {"cuda:0", "cuda:1"}, ""),
        ("1", {"cuda:0", "cuda:1"}, "cuda:1"),
        ("0-1-2", {"cuda:0", "cuda:2", "cpu"}, "cuda:0-2"),
        ("0,1,2", {"cuda:0", "cuda:2", "cpu"}, "cuda:0-2"),
        ("0-1-2", {"cpu"}, ""),
    ],
)
def test_gpu_numbers_are_a_preference(numbers: str, devices: set[str], constraint: str):
    assert prefer_gpus(numbers, devices) == constraint
