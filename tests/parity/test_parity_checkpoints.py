"""Files that upstream's own savers wrote are read whole, and written again as they wrote them."""

from __future__ import annotations

import io
import json
import pickletools
import zipfile
from dataclasses import replace

import pytest
import torch
from parity_fixtures import fixtures

from GPT_SoVITS.checkpoints.checkpoint_files import describe_checkpoint, open_checkpoint, save_checkpoint
from GPT_SoVITS.checkpoints.identify import identify, lora_rank
from GPT_SoVITS.checkpoints.official_files import read_official, write_official
from GPT_SoVITS.checkpoints.torch_archive import HParams, open_archive

RESUME = "checkpoint_resume"
VOICES = fixtures("", suffix=".pth", where=lambda path: not path.stem.endswith(RESUME)) + fixtures("", suffix=".ckpt")
LORAS = fixtures("_lora", suffix=".pth")


def by_torch(path):
    """Return what torch reads once the first two bytes are put back: another way than ours."""
    stream = io.BytesIO(b"PK" + path.read_bytes()[2:])
    with torch.serialization.safe_globals([(HParams, "utils.HParams")]):
        return torch.load(stream, weights_only=True)


def plain(value):
    value = vars(value) if isinstance(value, HParams) else value
    return {name: plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def records(path):
    """Return the archive's entries below its folder, whose name is that of the file it was first saved to."""
    with zipfile.ZipFile(io.BytesIO(b"PK" + path.read_bytes()[2:])) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def operations(pickled):
    """Return a pickle's operations without its memo, which depends on which equal texts are one object."""
    operations, memo, last = [], {}, None
    for operation, argument, _ in pickletools.genops(pickled):
        if "PUT" in operation.name:
            memo[argument] = last
            continue
        last = memo[argument] if "GET" in operation.name else (operation.name, argument)
        operations.append(last)
    return operations


@pytest.mark.parametrize("path", VOICES)
def test_a_file_is_read_as_it_was_saved(path):
    saved = by_torch(path)

    checkpoint = read_official(path)

    assert checkpoint.info["official"] == saved["info"]
    assert checkpoint.config == plain(saved["config"])
    assert list(checkpoint.state) == list(saved["weight"])
    for name, tensor in saved["weight"].items():
        assert checkpoint.state[name].dtype == tensor.dtype, name
        assert torch.equal(checkpoint.state[name], tensor), name


@pytest.mark.parametrize("path", VOICES)
def test_a_file_is_written_as_upstreams_saver_wrote_it(path, tmp_path):
    write_official(tmp_path / "voice.pth", read_official(path))

    ours, theirs = records(tmp_path / "voice.pth"), records(path)
    assert (tmp_path / "voice.pth").read_bytes()[:2] == path.read_bytes()[:2]
    assert {name for name in ours if name.startswith("data/")} == {name for name in theirs if name.startswith("data/")}
    assert all(ours[name] == theirs[name] for name in ours if name.startswith("data/"))
    if type(by_torch(path)) is not dict:  # a pretrained file, which no saver of theirs made
        assert operations(ours["data.pkl"]) == operations(theirs["data.pkl"])


@pytest.mark.parametrize("path", VOICES)
def test_reading_and_writing_again_changes_nothing(path, tmp_path):
    write_official(tmp_path / "first.pth", read_official(path))

    write_official(tmp_path / "second.pth", read_official(tmp_path / "first.pth"))

    assert (tmp_path / "second.pth").read_bytes() == (tmp_path / "first.pth").read_bytes()


@pytest.mark.parametrize("path", VOICES)
def test_a_file_survives_our_own_format(path, tmp_path):
    official = read_official(path)

    save_checkpoint(tmp_path / "ours.safetensors", official, half=None)
    ours = open_checkpoint(tmp_path / "ours.safetensors")

    assert replace(ours, state={}) == replace(official, state={})
    assert ours.state.keys() == official.state.keys()
    assert all(torch.equal(ours.state[name], tensor) for name, tensor in official.state.items())


@pytest.mark.parametrize("path", LORAS)
def test_a_lora_is_known_by_its_tensors_and_its_version_by_the_header(path):
    facts = describe_checkpoint(path)

    assert facts["version"] == {b"03": "v3", b"04": "v4"}[path.read_bytes()[:2]]
    assert facts["lora_rank"] == by_torch(path)["lora_rank"]
    assert facts["config"]["version"] == facts["version"]


@pytest.mark.parametrize("path", fixtures("_base", suffix=".pth"))
@pytest.mark.parametrize("version", ["v3", "v4"])
def test_a_base_serves_as_the_version_that_is_asked_for(path, version):
    assert read_official(path, version=version).version == version


KNOWN = {
    "G_v1": ("sovits", "v1"),
    "G_v2": ("sovits", "v2"),
    "G_v2Pro": ("sovits", "v2Pro"),
    "G_v2ProPlus": ("sovits", "v2ProPlus"),
    "D_v1_v2": ("discriminator", "v2"),
    "D_v2Pro_v2ProPlus": ("discriminator", "v2Pro"),
    "ERes2NetV2_w24s4ep4": ("speaker_vector", ""),
    "HubertModel_base_transformers": ("hubert", ""),
    "HubertModel_base_file_old_weight_norm": ("hubert", ""),
    "s2_v3": ("sovits", ""),
    "_lora_r32_file": ("sovits", ""),
    "bigvgan_v2_24khz_100band_256x": ("vocoder", "v3"),
    "bigvgan_v2_24khz_100band_256x_folded": ("vocoder", "v3"),
    "v4_vocoder": ("vocoder", "v4"),
    "v1": ("gpt", "v1"),
    "v2": ("gpt", "v2"),
    "s1v3": ("gpt", "v2"),
}
"""A network of the lists of official names and shapes → what its tensors alone say."""


@pytest.mark.parametrize("path", fixtures("official_shapes", suffix=".json"))
def test_every_official_network_is_known_by_its_tensors(path):
    networks = {name: value for name, value in json.loads(path.read_text()).items() if name.split()[0] in KNOWN}

    for name, shapes in networks.items():
        shapes = dict(shapes["params"]) if "params" in shapes else shapes
        state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}

        assert identify(state) == KNOWN[name.split()[0]], name
        assert lora_rank(state) == (32 if "lora" in name else None), name
    assert networks


@pytest.mark.parametrize("path", fixtures(RESUME, suffix=".pth"))
def test_a_resume_file_has_its_entries_and_its_weights(path):
    saved = by_torch(path)

    archive = open_archive(path)
    weights = archive.map_tensors(archive.content["model"])

    assert archive.content.keys() == saved.keys() == {"model", "iteration", "optimizer", "learning_rate"}
    assert archive.content["iteration"] == saved["iteration"]
    assert all(torch.equal(weights[name], tensor) for name, tensor in saved["model"].items())
