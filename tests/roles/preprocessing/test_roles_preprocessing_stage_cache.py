"""What is there is used only while all that it was made of is the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from stage_bench import StageBench

from core.errors import InputGone
from core.redis_server import EmbeddedServer
from core.settings import read_settings
from roles.preprocessing import stage_cache as reuse


@pytest.fixture(scope="module")
def stage_bench(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StageBench]:
    """One for all tests here: only the first of them has to convert the recording."""
    bench = StageBench(read_settings(data_path=tmp_path_factory.mktemp("reuse"), redis_prefix="reuse:"), server.url)
    yield bench
    bench.close()


@pytest.fixture
def experiment(stage_bench: StageBench, recording: Path) -> str:
    """Return the id of an experiment that is converted and sliced."""
    experiment_id = stage_bench.experiment(stage_bench.upload(recording))
    stage_bench.run(experiment_id, "convert")
    stage_bench.run(experiment_id, "audio_slice")
    return experiment_id


def segments(stage_bench: StageBench, experiment: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (stage_bench.folder(experiment) / "segments").iterdir()}


def replace(path: Path, content: bytes) -> None:
    """Under the same name; the file itself may have another name in another experiment."""
    path.unlink()
    path.write_bytes(content)


def test_other_parameters_make_something_else(stage_bench, experiment):
    before = segments(stage_bench, experiment)

    outputs = stage_bench.run(experiment, "audio_slice", min_length=2000)

    assert "reused" not in outputs
    assert segments(stage_bench, experiment).keys() != before.keys()


def test_a_parameter_that_only_spreads_the_work_changes_nothing(stage_bench, experiment):
    assert stage_bench.run(experiment, "audio_slice", n_parts=2)["reused"]


@pytest.mark.parametrize("change", ["damaged", "deleted", "added"])
def test_results_that_somebody_touched_are_made_again(stage_bench, experiment, change):
    before = segments(stage_bench, experiment)
    segment = min((stage_bench.folder(experiment) / "segments").iterdir())
    if change == "added":
        segment.with_name("extra.wav").write_bytes(segment.read_bytes())
    elif change == "deleted":
        segment.unlink()
    else:
        replace(segment, segment.read_bytes()[:-1] + b"x")

    stage_bench.run(experiment, "audio_slice")

    assert segments(stage_bench, experiment) == before


def test_a_changed_input_makes_something_else(stage_bench, experiment):
    source = stage_bench.folder(experiment) / "source" / "recording.wav"
    samples, rate = soundfile.read(source, dtype="int16")
    source.unlink()
    soundfile.write(source, samples // 2, rate)

    assert "reused" not in stage_bench.run(experiment, "audio_slice")


def test_other_code_makes_it_again(stage_bench, experiment, monkeypatch):
    monkeypatch.setattr(reuse, "code_version", lambda: "the next release")

    assert "reused" not in stage_bench.run(experiment, "audio_slice")


def test_the_same_recording_uploaded_again_is_not_converted_again(stage_bench, experiment, recording):
    other = stage_bench.experiment(stage_bench.upload(recording), "the same again")

    assert stage_bench.run(other, "convert")["reused"]
    assert stage_bench.run(other, "audio_slice")["reused"]
    assert segments(stage_bench, other) == segments(stage_bench, experiment)


def test_what_another_experiment_lent_stays_when_that_is_deleted(stage_bench, experiment, recording):
    before = segments(stage_bench, experiment)
    other = stage_bench.experiment(stage_bench.upload(recording), "the same again")
    for stage in ("convert", "audio_slice"):
        stage_bench.run(other, stage)

    stage_bench.services.call(stage_bench.services.experiments.delete, experiment)

    assert segments(stage_bench, other) == before
    assert stage_bench.run(other, "audio_slice")["reused"]


def test_nothing_is_taken_from_an_experiment_that_is_gone_or_damaged(stage_bench, experiment, recording):
    before = segments(stage_bench, experiment)
    damaged = min((stage_bench.folder(experiment) / "segments").iterdir())
    replace(damaged, damaged.read_bytes()[:-1] + b"x")
    other = stage_bench.experiment(stage_bench.upload(recording), "the same again")
    stage_bench.run(other, "convert")

    outputs = stage_bench.run(other, "audio_slice")

    assert "reused" not in outputs
    assert segments(stage_bench, other) == before
    assert not list(stage_bench.folder(other).glob(".*"))


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b'{"other": "fields"}'])
def test_what_no_longer_tells_what_is_there_is_no_obstacle(stage_bench, experiment, content):
    replace(stage_bench.folder(experiment) / reuse.MANIFESTS / "audio_slice.json", content)

    stage_bench.run(experiment, "audio_slice")

    assert stage_bench.run(experiment, "audio_slice")["reused"]


def test_a_result_that_cannot_be_remembered_is_a_result_all_the_same(stage_bench, experiment):
    manifests = stage_bench.folder(experiment) / reuse.MANIFESTS
    shutil.rmtree(manifests)
    manifests.write_bytes(b"in the way")

    assert stage_bench.run(experiment, "audio_slice", hop_size=20)["segments"]


def test_the_list_of_what_is_known_is_bounded(stage_bench, experiment, monkeypatch):
    monkeypatch.setattr(reuse, "MAX_KEYS", 3)

    for length in (1000, 2000, 3000, 5000):
        stage_bench.run(experiment, "audio_slice", min_length=length)

    assert len(list((stage_bench.services.settings.data_path / reuse.INDEX).iterdir())) == 3


def test_a_recording_that_vanished_is_named_with_what_to_do(stage_bench, recording):
    file_id = stage_bench.upload(recording)
    experiment = stage_bench.experiment(file_id)
    stage_bench.services.storage.delete(f"files/{file_id}")

    with pytest.raises(InputGone, match=rf"{file_id}.* is no longer there") as failure:
        stage_bench.run(experiment, "convert")

    assert "Upload it again" in failure.value.hint
    assert not list(stage_bench.folder(experiment).iterdir())


def test_results_that_vanished_are_named_with_the_stage_that_makes_them(stage_bench, experiment):
    shutil.rmtree(stage_bench.folder(experiment) / "source")

    with pytest.raises(InputGone, match="audio_slice needs source") as failure:
        stage_bench.run(experiment, "audio_slice")

    assert failure.value.hint == "Run convert again."
    stage_bench.run(experiment, "convert")
    assert stage_bench.run(experiment, "audio_slice")["reused"]
