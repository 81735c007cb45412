"""Spectrograms, resampling, batches and files of stage 2 are those of the reference."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from parity_fixtures import ROOT, Fixture, error, find, fixtures, seeded_weights

from GPT_SoVITS.checkpoints.official_files import read_official
from GPT_SoVITS.checkpoints.resume_files import load_resume
from GPT_SoVITS.configs import config_names, load_config, merge_config
from GPT_SoVITS.features.mel import mel_bands, mel_spectrogram, resample, spectrogram
from GPT_SoVITS.sovits.data import BucketSampler, SoVITSItemLoader, boundaries, collate
from GPT_SoVITS.sovits.training_set import (
    CODES_FILE,
    SPEAKER_FOLDER,
    SSL_FOLDER,
    TEXT_FILE,
    WAVE_FOLDER,
    select_entries,
)


@pytest.mark.parametrize("path", fixtures("spectrogram_mel"))
def test_spectrograms_and_mels_are_those_of_the_reference(path):
    fixture = Fixture(path)
    config = fixture.config
    shape = {"n_fft": config["n_fft"], "hop": config["hop"], "win": config["win"]}
    bands = {
        "sampling_rate": config["sr"],
        "n_fft": config["n_fft"],
        "n_mels": config["n_mels"],
        "fmin": config["fmin"],
        "fmax": config["fmax"],
    }

    for i in range(sum(name.startswith("wav") for name in fixture.arrays)):
        spec = spectrogram(fixture[f"wav{i}"].float()[None] / 32768, **shape)
        assert list(spec.shape) == fixture[f"spec{i}_frames"].tolist()
        assert error(*fixture.digests(spec, f"spec{i}_digest")) < 1e-5
        if f"spec{i}" in fixture:
            assert error(spec[0], fixture[f"spec{i}"].view_as(spec[0])) < 1e-5
        assert error(mel_spectrogram(spec, **bands), fixture[f"mel{i}"]) < 1e-5
    silence = spectrogram(torch.zeros(1, 6400), **shape)

    assert error(silence.flatten()[0], fixture["spec_silence_value"]) < 1e-5
    assert error(mel_spectrogram(silence, **bands)[0, :, 0], fixture["mel_silence"]) < 1e-5


@pytest.mark.parametrize("path", fixtures("spectrogram_mel"))
def test_the_mel_bands_are_those_of_the_reference(path):
    fixture = Fixture(path)
    config = fixture.config
    rows, columns = fixture["mel_basis_idx"].long()

    bands = mel_bands(config["sr"], config["n_fft"], config["n_mels"], config["fmin"], config["fmax"])

    expected = torch.zeros_like(bands)
    expected[rows, columns] = fixture["mel_basis_val"]
    assert error(bands, expected) < 1e-5


@pytest.mark.parametrize("path", fixtures("audio_conventions"))
def test_resampling_is_that_of_the_reference(path):
    fixture = Fixture(path)

    ours = resample(fixture["resample_44100_in"], 44100, 32000)

    assert error(ours, fixture["resample_44100_to_32000"]) < 5e-5


@pytest.mark.parametrize("path", fixtures("bucket_sampler", suffix=".json"))
def test_batches_come_in_the_order_of_the_reference(path):
    content = json.loads(path.read_text())

    for case in content["cases"]:
        for rank in range(case["replicas"]):
            sampler = BucketSampler(
                case["lengths"], case["batch_size"], content["boundaries"], replicas=case["replicas"], rank=rank
            )

            assert sampler.edges == case["boundaries_left"]
            assert sampler.sizes == case["num_samples_per_bucket"]
            assert len(sampler) == case["len"]
            for epoch, batches in case["epochs"].items():
                assert sampler.epoch(int(epoch)) == batches[rank]
    assert boundaries() == content["boundaries"]


def write_folder(root: Path, content: dict, config: dict) -> None:
    """Write the experiment folder that a dataset_rules fixture describes."""
    for folder in (SSL_FOLDER, WAVE_FOLDER, SPEAKER_FOLDER):
        (root / folder).mkdir()
    (root / TEXT_FILE).write_text("\n".join(content["name2text"]) + "\n", encoding="utf-8")
    (root / CODES_FILE).write_text("item_name\tsemantic_audio\n", encoding="utf-8")
    noise = np.random.default_rng(0)
    model = config["model"]
    for row in content["rows"]:
        samples = (content["wav_file_sizes"].get(row["name"], 44) - 44) // 2
        frames = max((samples // 2 - 80) // 320, 1)
        if row["wav"]:
            sound = noise.integers(-3000, 3000, samples, dtype=np.int16)
            soundfile.write(root / WAVE_FOLDER / row["name"], sound, config["data"]["sampling_rate"])
        if row["hubert"]:
            ssl = torch.randn(1, frames, model["ssl_dim"]).transpose(1, 2).requires_grad_()
            torch.save(ssl, root / SSL_FOLDER / f"{row['name']}.pt")
        if row["sv"]:
            torch.save(torch.randn(1, model["sv_dim"]), root / SPEAKER_FOLDER / f"{row['name']}.pt")


def rules(ending: str = "") -> list:
    """(fixture, version) for every version that a fixture tells of."""
    return [
        pytest.param(path, name.removesuffix(ending), id=f"{path.relative_to(ROOT)}-{name}")
        for path in find("dataset_rules", suffix=".json")
        for name in json.loads(path.read_text())["result"]
        if name.endswith(ending) and name.removesuffix(ending) in config_names()
    ] or [pytest.param(None, "", marks=pytest.mark.skip(reason=f"no dataset_rules.json under {ROOT}"))]


@pytest.mark.parametrize(("path", "version"), rules())
def test_the_loader_keeps_repeats_and_shapes_what_the_reference_does(path, version, tmp_path):
    content = json.loads(path.read_text())
    expected, config = content["result"], load_config(version)
    write_folder(tmp_path, content, config)

    selection = select_entries(tmp_path, config, source="ssl")
    items = SoVITSItemLoader(tmp_path, config)
    kept = {entry.name: entry for entry in selection.entries}

    assert {
        name: {"repeats": selection.repeats, "length": e.frames, "phoneme_ids": list(e.phonemes)}
        for name, e in kept.items()
    } == expected[version]
    assert set(selection.left_out) == {row["name"] for row in content["rows"]} - set(kept)
    for name, entry in kept.items():
        item = items(entry)
        shapes = [[1, *item.ssl.shape], [*item.spec.shape], [*item.wave.shape], [*item.text.shape]]
        shapes += [[1, *item.speaker.shape]] if item.speaker is not None else []
        assert shapes == expected[f"{version}_item_shapes"][name]
        last_repeated = torch.equal(item.ssl[:, -1], item.ssl[:, -2])
        assert last_repeated == expected[f"{version}_item_shapes"][f"{name}:ssl_last_two_equal"]


@pytest.mark.parametrize(("path", "version"), rules("_collate"))
def test_a_batch_is_padded_as_the_reference_does(path, version, tmp_path):
    content = json.loads(path.read_text())
    expected, config = content["result"][f"{version}_collate"], load_config(version)
    write_folder(tmp_path, content, config)
    kept = {entry.name: entry for entry in select_entries(tmp_path, config, source="ssl").entries}
    items = SoVITSItemLoader(tmp_path, config)

    batch = collate([items(kept[name]) for name in expected["order_in"]])

    tensors = [batch.ssl, batch.spec_lengths, batch.spec, batch.spec_lengths, batch.wave]
    tensors += [batch.spec_lengths, batch.text, batch.text_lengths]
    tensors += [batch.speaker] if batch.speaker is not None else []
    assert [list(tensor.shape) for tensor in tensors] == expected["shapes"]
    assert batch.spec_lengths.tolist() == expected["spec_lengths"]
    assert sorted((items(kept[name]).wave.shape[1] for name in expected["order_in"]), reverse=True) == sorted(
        expected["wav_lengths"], reverse=True
    )
    if "text" in expected:
        assert batch.text.tolist() == expected["text"]
        assert batch.text_lengths.tolist() == expected["text_lengths"]


def is_container(path: Path) -> bool:
    return re.search(r"checkpoint_v\w+$", path.stem) is not None


@pytest.mark.parametrize("path", fixtures("", suffix=".pth", where=is_container))
def test_a_fine_tuned_file_is_read_without_running_it(path):
    checkpoint = read_official(path)

    assert checkpoint.kind == "sovits"
    assert path.stem.endswith(f"checkpoint_{checkpoint.version}")
    assert checkpoint.config["model"]["version"] == checkpoint.version
    assert not any("enc_q" in name for name in checkpoint.state)
    for name, tensor in checkpoint.state.items():
        if not name.endswith("inited"):
            expected = seeded_weights(path.parent).tensor(1, name, tuple(tensor.shape), 1.0).astype(np.float16)
            assert np.array_equal(tensor.numpy(), expected), name


@pytest.mark.parametrize("path", fixtures("checkpoint_resume", suffix=".pth"))
def test_a_resume_file_of_the_reference_opens(path):
    content = load_resume(path)

    assert set(content) == {"model", "iteration", "optimizer", "learning_rate"}
    assert merge_config(content["optimizer"], {})["param_groups"]
