"""Event files that TensorBoard reads, and their absence."""

from __future__ import annotations

import sys

import pytest
import torch

from GPT_SoVITS.training.tensorboard import TensorBoardLog


def events(folder):
    """(step, tag, kind) of everything that was written."""
    from tensorboardX.event_file_writer import EventsWriter  # noqa: F401 - the package is there
    from tensorboardX.proto.event_pb2 import Event

    values = []
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:  # length (8 bytes), its sum (4), the event, its sum (4)
            length = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + length])
            values += [(event.step, value.tag, value.WhichOneof("value")) for value in event.summary.value]
            content = content[16 + length :]
    return values


def test_losses_means_and_sounds_are_there_to_look_at(tmp_path):
    log = TensorBoardLog(tmp_path)
    log.add_step(1, {"mel": 2.0, "kl": 1.0})
    log.add_epoch(1, {"mel": 1.5})
    log.add_audio(1, "spoken", torch.zeros(800), 16000)
    log.close()

    assert log.enabled
    assert events(tmp_path / "events") == [
        (1, "step/mel", "simple_value"),
        (1, "step/kl", "simple_value"),
        (1, "epoch/mel", "simple_value"),
        (1, "spoken", "audio"),
    ]


@pytest.mark.parametrize("reason", ["no package", "another process writes"])
def test_nothing_is_written_and_nothing_fails(tmp_path, monkeypatch, reason):
    if reason == "no package":
        monkeypatch.setitem(sys.modules, "tensorboardX", None)
    log = TensorBoardLog(tmp_path if reason == "no package" else None)

    log.add_step(1, {"mel": 2.0})
    log.add_audio(1, "spoken", torch.zeros(800), 16000)
    log.close()

    assert not log.enabled
    assert not (tmp_path / "events").exists()
