"""The slicer and the loudness conventions against the reference's own numbers. `PARITY_DIR` names other fixtures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from parity_fixtures import find, seeded_weights
from upstream_audio import limit_reference

from GPT_SoVITS.audio import frame_rms
from GPT_SoVITS.dataset.loudness import content_audio, mix_loudness, training_audio
from GPT_SoVITS.dataset.slicer import Slicer, SliceSettings

weights = seeded_weights()
UPSTREAM_DEFAULTS = {"threshold": -40, "min_length": 5000, "min_interval": 300, "hop_size": 20, "max_sil_kept": 5000}


def upstream_slicer(case: dict) -> Slicer:
    return Slicer(case["sr"], SliceSettings(**(UPSTREAM_DEFAULTS | case["params"]), max_seconds=None))


def slicer_cases() -> list:
    chunks = [
        pytest.param(case, id=f"{path.parent.name}-{case['name']}")
        for path in find("slicer", suffix=".json")
        for case in json.loads(path.read_text())["cases"]
    ]
    return chunks or [pytest.param(None, marks=pytest.mark.skip(reason="no slicer.json among the fixtures"))]


def audio_cases() -> list:
    chunks = [
        pytest.param(path, number, id=f"{path.stem}-{number}")
        for path in find("audio_conventions")
        for number in range(sum(name[2:].isdigit() for name in np.load(path).files if name.startswith("in")))
    ]
    return chunks or [
        pytest.param(None, 0, marks=pytest.mark.skip(reason="no audio_conventions.npz among the fixtures"))
    ]


def signal(case: dict) -> np.ndarray:
    pieces = [
        weights.tensor(case["seed"], f"seg{i}", (round(seconds * case["sr"]),), 1.0).astype(np.float64) * amplitude
        for i, (seconds, amplitude) in enumerate(case["segments"])
    ]
    joined = np.concatenate(pieces)
    joined[1:-1] = (joined[:-2] + joined[1:-1] + joined[2:]) / 3
    mono = joined.astype(np.float32)
    return np.stack([mono, 0.5 * mono[::-1]]) if case.get("stereo") else mono


@pytest.mark.parametrize("case", slicer_cases())
def test_the_slicer_cuts_where_the_reference_cuts(case):
    samples = signal(case)
    slicer = upstream_slicer(case)

    chunks = slicer.slice(samples)

    chunks = [[chunk.samples.shape[-1], chunk.start, chunk.end] for chunk in chunks]
    bare = [[samples.shape[-1], 0, samples.shape[-1]]]
    assert chunks == [bare[0] if chunk[0] == "bare" else chunk for chunk in case["chunks"]]


@pytest.mark.parametrize("case", slicer_cases())
def test_the_slicer_derives_the_reference_s_frame_counts_and_levels(case):
    samples = signal(case)
    slicer = upstream_slicer(case)

    rms = frame_rms(samples if samples.ndim == 1 else samples.mean(axis=0), slicer.hop, slicer.window)

    assert {
        "hop_size": slicer.hop,
        "win_size": slicer.window,
        "min_length": slicer.min_length,
        "min_interval": slicer.min_interval,
        "max_sil_kept": slicer.max_sil_kept,
        "threshold": pytest.approx(slicer.threshold),
    } == case["derived"]
    assert len(rms) == case["frames"]
    np.testing.assert_allclose(weights.digest(rms, 16)[5:], case["rms_digest"][5:], rtol=1e-4)


@pytest.mark.parametrize(("path", "number"), audio_cases())
def test_training_sound_has_the_reference_s_samples(path, number):
    fixture = np.load(path)

    slices = training_audio(fixture[f"in{number}"])

    assert np.abs(slices.astype(int) - fixture[f"wav32k_int16_{number}"]).max() <= 1


@pytest.mark.parametrize(("path", "number"), audio_cases())
def test_content_sound_has_the_reference_s_samples(path, number):
    fixture = np.load(path)

    slices = content_audio(fixture[f"in{number}"])

    expected = fixture[f"hubert_in_{number}_digest"][5:]
    assert len(slices) == fixture[f"hubert_in_{number}_len"][0]
    chunks = weights.digest(slices, len(expected))[5:]
    assert np.abs(chunks - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("path", "number"), audio_cases())
def test_segments_are_written_with_the_reference_s_loudness(path, number):
    fixture = np.load(path)

    slices = mix_loudness(fixture[f"in{number}"], 0.9, 0.25)

    assert np.abs(slices.astype(int) - fixture[f"slice_out_int16_{number}"]).max() <= 1


@pytest.mark.parametrize(("path", "number"), audio_cases())
def test_a_reference_recording_is_limited_as_in_the_reference(path, number):
    fixture = np.load(path)

    slices = limit_reference(fixture[f"in{number}"])

    assert np.abs(slices).max() == pytest.approx(float(fixture[f"ref_rescaled_peak_{number}"]), rel=1e-6)
