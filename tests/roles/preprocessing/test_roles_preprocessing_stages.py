"""Every preparing stage on real speech: what it leaves, and that the next one can read it."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import soundfile
import soxr
from sqlalchemy import update
from stage_bench import RECORDING, Prepared

from core.errors import InvalidParameter, InvalidRequest, NoSpeech
from core.records import ConsentSource, NewConsentRecord, StageRecord
from core.records.tables import experiments
from core.stages.status import StageStatus
from GPT_SoVITS.audio import read_mono, write_wav
from GPT_SoVITS.checkpoints.catalog import BASE_FOLDER
from GPT_SoVITS.checkpoints.codebook_fingerprint import read_codebook_fingerprint
from GPT_SoVITS.configs import load_config
from GPT_SoVITS.dataset.folder import read_annotations, read_features, read_name2text, read_semantic

RATE = 16_000
SECONDS = 21.0


def status(prepared: Prepared, stage: str) -> StageRecord:
    return prepared.stage_bench.stage(prepared.id, stage)


def test_convert_leaves_one_mono_recording_at_the_rate_of_the_model(prepared):
    outputs = prepared.after("convert")

    assert outputs == {"seconds": SECONDS, "sample_rate": RATE}
    info = soundfile.info(prepared.folder / "source" / "recording.wav")
    assert (info.samplerate, info.channels, info.frames) == (RATE, 1, SECONDS * RATE)


def test_audio_slice_cuts_between_the_sentences_and_loses_none(prepared):
    outputs = prepared.after("audio_slice")

    segments = sorted((prepared.folder / "segments").iterdir())
    assert outputs["segments"] == len(segments) >= 3
    seconds = [soundfile.info(path).duration for path in segments]
    assert all(0.6 <= length <= 12.0 for length in seconds)
    assert SECONDS * 0.8 < sum(seconds) <= SECONDS


@pytest.mark.slow
def test_denoise_keeps_the_length_of_every_segment_and_takes_noise_out(prepared):
    prepared.after("audio_slice")
    other = prepared.stage_bench.experiment(prepared.file_id, "denoised")
    for stage in ("convert", "audio_slice"):
        prepared.stage_bench.run(other, stage)

    outputs = prepared.stage_bench.run(other, "denoise", enabled=True)

    folder = prepared.stage_bench.folder(other)
    before, after = sorted((folder / "segments").iterdir()), sorted((folder / "denoised").iterdir())
    assert outputs == {"skipped": False, "segments": len(before)}
    assert [path.name for path in after] == [path.name for path in before]
    noisy, clean = (np.concatenate([read_mono(path)[0] for path in paths]) for paths in (before, after))
    assert len(clean) == len(noisy)
    assert 0.5 < np.abs(clean).mean() / np.abs(noisy).mean() < 1.0


@pytest.mark.slow
def test_asr_writes_down_what_is_said_and_chooses_the_prompt(prepared):
    outputs = prepared.after("asr")

    lines = read_annotations(prepared.folder / "transcripts.list")
    text = " ".join(line.text for line in lines).lower()
    assert outputs["segments"] == len(lines) == prepared.after("audio_slice")["segments"]
    assert {line.language for line in lines} == {"en"}
    assert "sample sounds" in text
    assert "configuration files" in text
    prompt = prepared.stage_bench.services.storage.path(outputs["prompt"]["audio"])
    assert 3.0 <= soundfile.info(prompt).duration <= 10.0
    assert outputs["prompt"]["text"] in [line.text for line in lines]


@pytest.mark.slow
def test_text_feature_reads_every_transcript_as_phonemes(prepared):
    outputs = prepared.after("text_feature")

    entries = read_name2text(prepared.folder)
    assert outputs == {"transcripts": len(entries), "left_out": []}
    assert [entry.name for entry in entries] == [path.name for path in sorted((prepared.folder / "segments").iterdir())]
    assert all(len(entry.phones) > 20 for entry in entries)


@pytest.mark.slow
def test_hubert_feature_hears_every_segment_at_fifty_frames_a_second(prepared):
    outputs = prepared.after("hubert_feature")

    features = dict(read_features(prepared.folder))
    sounds = {path.name: soundfile.info(path) for path in (prepared.folder / "5-wav32k").iterdir()}
    rate = load_config("nano")["data"]["sampling_rate"]
    assert outputs == {"segments": len(features), "left_out": []}
    assert sounds.keys() == features.keys()
    for name, sound in sounds.items():
        assert sound.samplerate == rate
        assert abs(features[name].shape[2] - sound.duration * 50) <= 1


@pytest.mark.slow
def test_the_codebook_of_the_tokens_is_that_of_the_bundled_base(prepared):
    outputs = prepared.after("semantic_token")

    assert outputs["codebook"] == read_codebook_fingerprint(BASE_FOLDER / "sovits.safetensors")


@pytest.mark.slow
def test_semantic_token_gives_one_token_for_two_frames_at_most(prepared):
    prepared.after("asr")

    outputs = prepared.after("semantic_token")

    tokens = read_semantic(prepared.folder)
    frames = {name: features.shape[2] for name, features in read_features(prepared.folder)}
    assert tokens.keys() == frames.keys()
    assert outputs["tokens"] == sum(map(len, tokens.values()))
    assert all(0 < len(tokens[name]) <= frames[name] for name in tokens)
    assert len({token for of_segment in tokens.values() for token in of_segment}) > 50, (
        "different sounds have different tokens"
    )


@pytest.mark.slow
def test_a_stage_that_is_run_again_takes_what_is_there_and_says_so(prepared):
    prepared.after("semantic_token")
    stages = ("convert", "audio_slice", "asr", "text_feature", "hubert_feature", "semantic_token")
    before = {stage: prepared.after(stage) for stage in stages}
    written = {path: path.stat().st_mtime_ns for path in prepared.folder.rglob("*") if path.is_file()}

    again = {stage: prepared.stage_bench.run(prepared.id, stage) for stage in stages}

    assert again == {stage: {**outputs, "reused": True} for stage, outputs in before.items()}
    assert {path: path.stat().st_mtime_ns for path in prepared.folder.rglob("*") if path.is_file()} == written
    for stage in stages:
        assert status(prepared, stage).status is StageStatus.COMPLETED
        assert "nothing that it is made of had changed" in status(prepared, stage).message


@pytest.mark.slow
def test_another_experiment_with_the_same_recording_need_not_listen_again(prepared):
    prepared.after("asr")
    other = prepared.stage_bench.experiment(prepared.file_id, "same voice")
    for stage in ("convert", "audio_slice"):
        prepared.stage_bench.run(other, stage)

    outputs = prepared.stage_bench.run(other, "asr")

    assert outputs["reused"]
    assert outputs["prompt"]["audio"].startswith(f"experiments/{other}/segments/")
    folders = (prepared.folder, prepared.stage_bench.folder(other))
    first, second = ((folder / "transcripts.list").read_text() for folder in folders)
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["asr", "hubert_feature"])
def test_two_processes_make_exactly_what_one_makes(prepared, stage, monkeypatch):
    prepared.after(stage)
    before = contents(prepared)
    monkeypatch.setattr("roles.preprocessor.run_cached", lambda run, function: function(run))
    record = status(prepared, stage)

    outputs = prepared.stage_bench.run(prepared.id, stage, n_parts=2)

    assert outputs == record.outputs or {**outputs, "reused": True} == record.outputs
    assert contents(prepared) == before


def contents(prepared: Prepared) -> dict[str, bytes]:
    return {
        str(path.relative_to(prepared.folder)): path.read_bytes()
        for path in prepared.folder.rglob("*")
        if path.is_file() and path.parent.name != "prepared"
    }


@pytest.mark.slow
def test_asr_that_hears_nobody_says_what_to_do(prepared, tmp_path):
    rain = tmp_path / "rain.wav"
    soundfile.write(rain, np.random.default_rng(1).normal(0, 0.05, RATE * 12), RATE)
    experiment = prepared.stage_bench.experiment(prepared.stage_bench.upload(rain), "rain")
    for stage in ("convert", "audio_slice"):
        prepared.stage_bench.run(experiment, stage)

    with pytest.raises(NoSpeech, match="Nobody speaks in the recording") as failure:
        prepared.stage_bench.run(experiment, "asr")

    assert "Upload a recording of one person speaking" in failure.value.hint
    assert not (prepared.stage_bench.folder(experiment) / "transcripts.list").exists()
    assert prepared.stage_bench.stage(experiment, "asr").status is StageStatus.FAILED


def test_a_recogniser_outside_the_folder_of_models_is_not_opened(prepared):
    prepared.after("audio_slice")
    other = prepared.stage_bench.experiment(prepared.file_id, "other recogniser")
    for stage in ("convert", "audio_slice"):
        prepared.stage_bench.run(other, stage)

    with pytest.raises(InvalidParameter, match="no recognizer in the folder of models"):
        prepared.stage_bench.run(other, "asr", model="../../etc")


def test_two_preprocessors_do_the_stages_of_one_task_side_by_side(stage_bench, recording, monkeypatch):
    both_run = threading.Barrier(2, timeout=60)
    ran = []

    def stage(run):
        if run.stage in ("asr", "hubert_feature"):
            both_run.wait()
        ran.append(run.stage)
        return {"prompt": {}}

    monkeypatch.setattr("roles.preprocessor.run_cached", lambda run, function: stage(run))
    stage_bench.task(stage_bench.upload(recording))
    for _ in ("convert", "audio_slice"):
        stage_bench.work_once()

    workers = [threading.Thread(target=stage_bench.work_once, args=(f"preprocessor-{number}",)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert sorted(ran) == ["asr", "audio_slice", "convert", "hubert_feature"]


def test_a_stage_that_fails_leaves_the_results_of_the_run_before(stage_bench, recording):
    experiment = stage_bench.experiment(stage_bench.upload(recording))
    stage_bench.run(experiment, "convert")
    stage_bench.run(experiment, "audio_slice")
    folder = stage_bench.folder(experiment)
    before = sorted(path.name for path in (folder / "segments").iterdir())

    with pytest.raises(NoSpeech, match="nothing but silence"):
        stage_bench.run(experiment, "audio_slice", threshold=0)

    assert sorted(path.name for path in (folder / "segments").iterdir()) == before
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_a_training_stops_where_its_speaker_is_not_the_one_of_the_spoken_consent(prepared):
    prepared.after("asr")
    allison = read_mono(RECORDING)[0][: 8 * RATE]
    faster = soxr.resample(allison, RATE, round(0.8 * RATE))  # which sounds like another speaker

    prepared.stage_bench.run(with_spoken_consent(prepared, allison), "asr")
    with pytest.raises(InvalidRequest, match="not that of the consent"):
        prepared.stage_bench.run(with_spoken_consent(prepared, faster), "asr")


def with_spoken_consent(prepared: Prepared, samples: np.ndarray) -> str:
    """Return an experiment with a consent of this recording, whose segments are there."""
    services, bench = prepared.stage_bench.services, prepared.stage_bench
    with services.storage.temporary_file() as temporary:
        write_wav(temporary, samples, RATE)
        key = f"consents/{len(samples)}.wav"
        services.storage.publish(temporary, key)
    new = NewConsentRecord(speaker="Allison", statement="Yes.", source=ConsentSource.RECORDING, recording_key=key)
    consent = services.call(services.records.consents.create, new)
    experiment = bench.experiment(prepared.file_id, key.replace("/", "-"))

    async def attach() -> None:
        async with services.records.database.write() as connection:
            this_one = experiments.c.id == experiment
            await connection.execute(update(experiments).where(this_one).values(consent_id=consent.id))

    services.call(attach)
    for stage in ("convert", "audio_slice"):
        bench.run(experiment, stage)
    return experiment
