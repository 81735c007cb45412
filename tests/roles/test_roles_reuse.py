"""What is there is used only while all that it was made of is the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from workshop import Workshop

from core.errors import InputGone
from core.redis_server import EmbeddedServer
from core.settings import read_settings
from roles.preprocessing import stage_cache as reuse


@pytest.fixture(scope="module")
def workshop(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """One for all tests here: only the first of them has to convert the recording."""
    made = Workshop(read_settings(data_path=tmp_path_factory.mktemp("reuse"), redis_prefix="reuse:"), server.url)
    yield made
    made.close()


@pytest.fixture
def experiment(workshop: Workshop, recording: Path) -> str:
    """Converted and sliced."""
    made = workshop.experiment(workshop.upload(recording))
    workshop.run(made, "convert")
    workshop.run(made, "audio_slice")
    return made


def segments(workshop: Workshop, experiment: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (workshop.folder(experiment) / "segments").iterdir()}


def replace(path: Path, content: bytes) -> None:
    """Under the same name; the file itself may have another name in another experiment."""
    path.unlink()
    path.write_bytes(content)


def test_other_parameters_make_something_else(workshop, experiment):
    before = segments(workshop, experiment)

    outputs = workshop.run(experiment, "audio_slice", min_length=2000)

    assert "reused" not in outputs
    assert segments(workshop, experiment).keys() != before.keys()


def test_a_parameter_that_only_spreads_the_work_changes_nothing(workshop, experiment):
    assert workshop.run(experiment, "audio_slice", n_parts=2)["reused"]


@pytest.mark.parametrize("change", ["damaged", "deleted", "added"])
def test_results_that_somebody_touched_are_made_again(workshop, experiment, change):
    before = segments(workshop, experiment)
    segment = min((workshop.folder(experiment) / "segments").iterdir())
    if change == "added":
        segment.with_name("extra.wav").write_bytes(segment.read_bytes())
    elif change == "deleted":
        segment.unlink()
    else:
        replace(segment, segment.read_bytes()[:-1] + b"x")

    workshop.run(experiment, "audio_slice")

    assert segments(workshop, experiment) == before


def test_a_changed_input_makes_something_else(workshop, experiment):
    source = workshop.folder(experiment) / "source" / "recording.wav"
    samples, rate = soundfile.read(source, dtype="int16")
    source.unlink()
    soundfile.write(source, samples // 2, rate)

    assert "reused" not in workshop.run(experiment, "audio_slice")


def test_other_code_makes_it_again(workshop, experiment, monkeypatch):
    monkeypatch.setattr(reuse, "code_version", lambda: "the next release")

    assert "reused" not in workshop.run(experiment, "audio_slice")


def test_the_same_recording_uploaded_again_is_not_converted_again(workshop, experiment, recording):
    other = workshop.experiment(workshop.upload(recording), "the same again")

    assert workshop.run(other, "convert")["reused"]
    assert workshop.run(other, "audio_slice")["reused"]
    assert segments(workshop, other) == segments(workshop, experiment)


def test_what_another_experiment_lent_stays_when_that_is_deleted(workshop, experiment, recording):
    before = segments(workshop, experiment)
    other = workshop.experiment(workshop.upload(recording), "the same again")
    for stage in ("convert", "audio_slice"):
        workshop.run(other, stage)

    workshop.services.call(workshop.services.experiments.delete, experiment)

    assert segments(workshop, other) == before
    assert workshop.run(other, "audio_slice")["reused"]


def test_nothing_is_taken_from_an_experiment_that_is_gone_or_damaged(workshop, experiment, recording):
    before = segments(workshop, experiment)
    damaged = min((workshop.folder(experiment) / "segments").iterdir())
    replace(damaged, damaged.read_bytes()[:-1] + b"x")
    other = workshop.experiment(workshop.upload(recording), "the same again")
    workshop.run(other, "convert")

    outputs = workshop.run(other, "audio_slice")

    assert "reused" not in outputs
    assert segments(workshop, other) == before
    assert not list(workshop.folder(other).glob(".*"))


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b'{"other": "fields"}'])
def test_what_no_longer_tells_what_is_there_is_no_obstacle(workshop, experiment, content):
    replace(workshop.folder(experiment) / reuse.MANIFESTS / "audio_slice.json", content)

    workshop.run(experiment, "audio_slice")

    assert workshop.run(experiment, "audio_slice")["reused"]


def test_a_result_that_cannot_be_remembered_is_a_result_all_the_same(workshop, experiment):
    manifests = workshop.folder(experiment) / reuse.MANIFESTS
    shutil.rmtree(manifests)
    manifests.write_bytes(b"in the way")

    assert workshop.run(experiment, "audio_slice", hop_size=20)["segments"]


def test_the_list_of_what_is_known_is_bounded(workshop, experiment, monkeypatch):
    monkeypatch.setattr(reuse, "MAX_KEYS", 3)

    for length in (1000, 2000, 3000, 5000):
        workshop.run(experiment, "audio_slice", min_length=length)

    assert len(list((workshop.services.settings.data_path / reuse.INDEX).iterdir())) == 3


def test_a_recording_that_vanished_is_named_with_what_to_do(workshop, recording):
    file_id = workshop.upload(recording)
    experiment = workshop.experiment(file_id)
    workshop.services.storage.delete(f"files/{file_id}")

    with pytest.raises(InputGone, match=rf"{file_id}.* is no longer there") as failure:
        workshop.run(experiment, "convert")

    assert "Upload it again" in failure.value.hint
    assert not list(workshop.folder(experiment).iterdir())


def test_results_that_vanished_are_named_with_the_stage_that_makes_them(workshop, experiment):
    shutil.rmtree(workshop.folder(experiment) / "source")

    with pytest.raises(InputGone, match="audio_slice needs source") as failure:
        workshop.run(experiment, "audio_slice")

    assert failure.value.hint == "Run convert again."
    workshop.run(experiment, "convert")
    assert workshop.run(experiment, "audio_slice")["reused"]
