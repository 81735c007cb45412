"""An experiment that begins from a data set takes its sound, its segments and its transcripts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import soundfile
from bundled_speech import PIECES, RATE
from dataset_bench import Bench

from core.datasets.options import SegmentChange
from core.errors import Conflict
from core.experiments.requests import ExperimentRequest
from core.jobs.job import NewJob
from core.jobs.roles import FILES
from core.records import ExperimentRecord
from core.voices.prompt_proposals import PromptProposalRequest
from GPT_SoVITS.dataset.folder import read_annotations

NAMES = ("announce.wav", "busy.wav", "nogo.wav")


def begin(bench: Bench, dataset: str) -> ExperimentRecord:
    experiments = bench.services.experiments
    return bench.call(
        experiments.create, ExperimentRequest("allison", None, version="nano", language="en", dataset_id=dataset)
    )


def run(bench: Bench, experiment: ExperimentRecord, stage: str) -> Mapping[str, Any]:
    bench.call(bench.services.experiments.stages.run, experiment.id, stage)
    outputs = bench.work()
    assert outputs is not None
    return outputs


def folder_of(bench: Bench, experiment: ExperimentRecord) -> Path:
    return bench.services.storage.root / "experiments" / experiment.id


def test_the_stages_take_what_the_data_set_has_and_nobody_listens(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("GPT_SoVITS.dataset.transcribe.Transcriber.transcribe", None)
    dataset = bench.quick(*NAMES)
    bench.call(bench.datasets.edit_segments, dataset, [SegmentChange(number=2, left_out=True)])
    experiment = begin(bench, dataset)

    converted = run(bench, experiment, "convert")
    cut = run(bench, experiment, "audio_slice")
    result = run(bench, experiment, "asr")

    folder = folder_of(bench, experiment)
    assert (experiment.dataset_id, experiment.dataset_version) == (dataset, 2)
    assert converted["dataset"]["version"] == 2
    assert [path.name for path in sorted((folder / "segments").iterdir())] == ["000001.wav", "000003.wav"]
    assert soundfile.info(folder / "segments" / "000001.wav").samplerate == RATE
    assert [item["segment"] for item in cut["left_out"]] == ["busy.wav"]
    lines = read_annotations(folder / "transcripts.list")
    assert [(line.path, line.text) for line in lines] == [
        ("000001.wav", PIECES["announce.wav"][2]),
        ("000003.wav", PIECES["nogo.wav"][2]),
    ]
    assert result["prompt"]["text"] == PIECES["announce.wav"][2]


def test_an_experiment_keeps_its_version_while_the_data_set_goes_on(bench: Bench) -> None:
    dataset = bench.quick(*NAMES)
    experiment = begin(bench, dataset)

    bench.call(
        bench.datasets.edit_segments, dataset, [SegmentChange(number=1, left_out=True, transcript="Other words.")]
    )
    outputs = run(bench, experiment, "convert")

    assert outputs["recordings"] == 3
    assert outputs["dataset"]["version"] == 1


def test_a_data_set_that_an_experiment_takes_from_is_not_deleted(bench: Bench) -> None:
    dataset = bench.quick(*NAMES)
    experiment = begin(bench, dataset)
    bench.call(bench.services.experiments.stages.run, experiment.id, "convert")

    with pytest.raises(Conflict, match=experiment.id):
        bench.call(bench.datasets.delete, dataset)


def test_too_little_to_learn_from_fails_with_the_seconds(bench: Bench) -> None:
    experiment = begin(bench, bench.quick("announce.wav"))

    bench.call(bench.services.experiments.stages.run, experiment.id, "convert")
    bench.work()

    [letter] = bench.services.queue.dead_letters()
    assert letter.error["code"] == "recording_too_short"
    assert "7.8 s to learn from" in letter.error["message"]


def test_segments_of_a_data_set_are_proposed_as_prompts_with_their_transcripts(bench: Bench) -> None:
    request = PromptProposalRequest(
        voice_id="voice-1", voice_name="Anna", count=1, dataset_id=bench.quick("prepend.wav"), dataset_version=1
    )
    bench.services.queue.enqueue(NewJob(FILES, request.stored()))

    result: Any = bench.work()

    assert result["source"] == "dataset"
    assert [proposal["text"] for proposal in result["proposals"]] == [PIECES["prepend.wav"][2]]
