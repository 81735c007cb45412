"""HuBERT, the filter bank and ERes2NetV2 give the reference's numbers, and have the official files' names."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from parity_fixtures import Fixture, error, fixtures
from small_hubert import SMALL_HUBERT
from upstream_audio import limit_reference

from GPT_SoVITS.dataset.loudness import CONTENT_SCALE
from GPT_SoVITS.features.eres2net import ERes2NetV2, sizes_of
from GPT_SoVITS.features.fbank import FRAME, fbank
from GPT_SoVITS.features.hubert import Hubert, current_name
from GPT_SoVITS.features.mel import resample

TOLERANCE = 1e-4
SPEAKER_SIZES = {
    "baseWidth": "width",
    "scale": "scale",
    "expansion": "expansion",
    "m_channels": "channels",
    "num_blocks": "blocks",
    "embedding_size": "unused_width",
}


def sound(fixture: Fixture) -> torch.Tensor:
    """(N,) in [-1, 1]."""
    return fixture["wav_int16"].float() / 32768


def beginning_silent(wave: torch.Tensor, count: int) -> torch.Tensor:
    return torch.cat([torch.zeros(count), wave[count:]])


def hubert_network(sizes: dict[str, Any]) -> torch.nn.Module:
    from transformers.models.hubert.modeling_hubert import HubertConfig, HubertModel

    return HubertModel(HubertConfig(**sizes))


def write_folder(folder: Path, config: dict[str, Any], state: dict[str, torch.Tensor]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def shapes_of(content: dict[str, Any], start: str) -> dict[str, list[int]]:
    [name] = [name for name in content if name.startswith(start)]
    return content[name]


@pytest.mark.parametrize("path", fixtures("hubert", having="tiny/unit"))
def test_a_small_hubert_of_old_names_gives_the_reference_s_features(path, tmp_path):
    fixture = Fixture(path)
    state = {name: tensor.half() for name, tensor in fixture.state().items()}
    hubert = Hubert.load(write_folder(tmp_path, fixture.config["tiny"], state))

    for name, scale in (("tiny/unit", 1.0), ("tiny/scaled", CONTENT_SCALE)):
        if name in fixture:
            features = hubert.features_of(sound(fixture) * scale)
            assert error(features.transpose(1, 2), fixture[name]) < TOLERANCE, name


@pytest.mark.slow
@pytest.mark.parametrize("path", fixtures("hubert", having="full/digest"))
def test_a_full_size_hubert_gives_the_reference_s_features(path):
    fixture = Fixture(path)
    network = hubert_network(fixture.config.get("full", {}))
    fixture.fill(network, fixture.config["full_seed"], f16=fixture.config.get("full_f16", False))

    features = Hubert(network).features_of(sound(fixture)).transpose(1, 2)

    assert list(features.shape) == fixture["full/shape"].tolist()
    assert error(*fixture.digests(features, "full/digest")) < TOLERANCE


@pytest.mark.parametrize("path", fixtures("hubert", having="frame_counts"))
def test_hubert_makes_as_many_frames_as_the_reference(path):
    convolutions = Hubert(hubert_network(SMALL_HUBERT)).model.feature_extractor

    for samples, frames in Fixture(path)["frame_counts"].tolist():
        assert max(0, (samples - convolutions.reach) // convolutions.step + 1) == frames, samples


@pytest.mark.parametrize("path", fixtures("speaker_vector", having="fbank"))
def test_the_filter_bank_is_the_reference_s(path):
    fixture = Fixture(path)
    wave = sound(fixture)

    bands = fbank(wave)

    assert error(bands, fixture["fbank"]) < TOLERANCE
    if "floor" in fixture:
        silence = fbank(torch.zeros(FRAME))
        assert error(silence.flatten()[0], fixture["floor"]) < TOLERANCE
    if "fbank_half_silent_digest" in fixture:
        # The README does not say how much is silent: it is 3000 samples, a third of the bundled recording.
        counts = {3000, len(wave) // 3}
        differences = [
            error(*fixture.digests(fbank(beginning_silent(wave, count)), "fbank_half_silent_digest"))
            for count in counts
        ]
        assert min(differences) < TOLERANCE


@pytest.mark.parametrize("path", fixtures("speaker_vector", having="tiny/embedding"))
def test_a_small_speaker_network_gives_the_reference_s_vector(path, tmp_path):
    fixture = Fixture(path)
    state = fixture.state()
    torch.save(state, tmp_path / "speaker.ckpt")
    network = ERes2NetV2.load(tmp_path / "speaker.ckpt")

    vector = network(fixture["fbank"])

    sizes = {ours: fixture.config["tiny"][theirs] for theirs, ours in SPEAKER_SIZES.items()}
    assert asdict(sizes_of(state)) == sizes | {"blocks": tuple(sizes["blocks"])}
    assert error(vector, fixture["tiny/embedding"]) < TOLERANCE
    if "tiny/seg_1_output" in fixture:
        unused = network.seg_1(statistics(network, fixture["fbank"]))
        assert error(unused, fixture["tiny/seg_1_output"]) < TOLERANCE


def statistics(network: ERes2NetV2, features: torch.Tensor) -> torch.Tensor:
    """Return what the layer that takes no part would read: mean and deviation over time."""
    outputs = []
    hook = network.fuse34.register_forward_hook(lambda *arguments: outputs.append(arguments[-1]))
    network(features)
    hook.remove()
    fused = outputs[0].flatten(1, 2)
    return torch.cat([fused.mean(dim=2), (fused.var(dim=2) + 1e-8).sqrt()], dim=1)


@pytest.mark.slow
@pytest.mark.parametrize("path", fixtures("speaker_vector", having="full/digest"))
def test_a_full_size_speaker_network_gives_the_reference_s_vector(path):
    fixture = Fixture(path)
    network = ERes2NetV2().eval()
    fixture.fill(network, fixture.config["full_seed"], f16=fixture.config.get("full_f16", False))

    vector = network.vector_of(sound(fixture))

    assert error(*fixture.digests(vector, "full/digest")) < TOLERANCE
    if "full/embedding_f16" in fixture:
        assert error(vector, fixture["full/embedding_f16"]) < 1e-3  # stored in half precision


@pytest.mark.parametrize("path", fixtures("audio_conventions"))
def test_a_reference_recording_at_16_khz_has_the_reference_s_samples(path):
    fixture = Fixture(path)

    for name in fixture.names("ref16k_"):
        limited = limit_reference(fixture.arrays[name.replace("ref16k_", "in")])
        ours = resample(torch.from_numpy(limited), 32_000, 16_000)
        assert error(ours[None], fixture[name]) < 5e-5, name


def has_speaker_network(path: Path) -> bool:
    return any(name.startswith("ERes2NetV2") for name in json.loads(path.read_text()))


def has_hubert(path: Path) -> bool:
    return any(name.startswith("HubertModel") for name in json.loads(path.read_text()))


@pytest.mark.parametrize("path", fixtures("official_shapes", suffix=".json", where=has_speaker_network))
def test_the_speaker_network_has_the_official_names_and_shapes(path):
    with torch.device("meta"):
        network = ERes2NetV2()

    assert {name: list(tensor.shape) for name, tensor in network.state_dict().items()} == shapes_of(
        json.loads(path.read_text()), "ERes2NetV2"
    )


@pytest.mark.parametrize("path", fixtures("official_shapes", suffix=".json", where=has_hubert))
def test_hubert_has_the_official_names_and_shapes_old_and_new(path):
    content = json.loads(path.read_text())
    with torch.device("meta"):
        network = hubert_network({})
    current = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}

    assert current == shapes_of(content, "HubertModel_base_transformers")
    old = shapes_of(content, "HubertModel_base_file")
    assert {current_name(name): shape for name, shape in old.items()} == current
