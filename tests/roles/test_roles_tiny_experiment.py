"""Versions with official weights: what is missing is said first, and what is there leads from segments to a voice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch
from tiny_experiment import HUBERT, RATE, TEXTS, TinyExperiment, cached_weights, speech_like

from core.errors import InvalidRequest, MissingPart, NotFound
from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.checkpoints.catalog import find_part
from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint, save_checkpoint
from GPT_SoVITS.dataset.folder import read_name2text, read_semantic, read_tensor
from GPT_SoVITS.errors import ModelError

FEATURES = ("text_feature", "hubert_feature", "speaker_vector", "semantic_token")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return cached_weights(tmp_path_factory)


@pytest.fixture
def family(tmp_path: Path, models: Callable[[str], Path], request: pytest.FixtureRequest) -> TinyExperiment:
    """All weights, and four segments with transcripts."""
    experiment = TinyExperiment(tmp_path, getattr(request, "param", "v2"))
    shutil.copytree(models(experiment.experiment.version), experiment.models, copy_function=os.link)
    experiment.record()
    return experiment


def test_a_task_without_its_weights_fails_in_its_first_stage_with_the_command_that_fetches_them(tmp_path):
    task = TinyExperiment(tmp_path, "v2Pro", task_id="task-tiny")

    with pytest.raises(MissingPart) as failure:
        task.run("convert")

    for part in ("gpt", "sovits", "discriminator", "hubert", "roberta", "speaker_vector"):
        assert part in failure.value.message
    assert "main.py download v2Pro" in failure.value.hint


def test_a_task_whose_weights_are_there_begins(family):
    family.experiment = replace(family.experiment, task_id="task-tiny")
    upload = family.storage.folder("files") / "file-tiny"
    write_wav(upload, speech_like(11.0, seed=1), RATE)

    outputs = family.run("convert")

    assert outputs["sample_rate"] == RATE
    assert outputs["seconds"] == pytest.approx(11.0, abs=0.01)


def test_weights_that_the_user_brings_are_not_asked_for(tmp_path):
    task = TinyExperiment(tmp_path, "v2", task_id="task-tiny")
    task.set_parameters("gpt_train", pretrained_s1="mine.ckpt")
    task.set_parameters("sovits_train", pretrained_s2G="mine_G.pth", pretrained_s2D="mine_D.pth")

    with pytest.raises(MissingPart) as failure:
        task.run("convert")

    assert failure.value.message.endswith("hubert, roberta.")


@pytest.mark.slow
@pytest.mark.parametrize("family", ["v2", "v2Pro"], indirect=True)
def test_segments_become_a_training_set_and_both_models_are_trained_on_it(family):
    prepare(family)
    family.set_parameters("sovits_train", total_epoch=1, batch_size=32)
    family.set_parameters("gpt_train", total_epoch=1, batch_size=16)

    sovits, gpt = family.run("sovits_train"), family.run("gpt_train")

    for kind, trained in (("sovits", sovits), ("gpt", gpt)):
        assert trained["metrics"]["steps"] >= 3
        check_trained(family, kind, family.storage.path(trained["model_path"]))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["v4"], indirect=True)
def test_a_version_with_flow_matching_is_trained_by_an_adapter_of_its_base(family):
    prepare(family)
    family.set_parameters("sovits_train", total_epoch=1, batch_size=32, lora_rank=16)

    trained = family.run("sovits_train")

    assert trained["metrics"]["steps"] >= 3
    adapter = open_checkpoint(family.storage.path(trained["model_path"]))
    assert (adapter.kind, adapter.version) == ("sovits", "v4")
    ranks = {tensor.shape[0] for name, tensor in adapter.state.items() if ".lora_A." in name}
    assert ranks == {16}


def prepare(family: TinyExperiment) -> None:
    """Run all preparing stages and look at what they left."""
    pro = family.experiment.version.startswith("v2Pro")
    for stage in FEATURES if pro else (stage for stage in FEATURES if stage != "speaker_vector"):
        family.run(stage)
    check_training_set(family, speaker=pro)


def check_training_set(family: TinyExperiment, *, speaker: bool) -> None:
    """Names and shapes are the original's (specification s1-gpt §12)."""
    texts = {entry.name: entry for entry in read_name2text(family.folder)}
    tokens = read_semantic(family.folder)
    assert list(texts) == list(tokens)
    assert len(texts) == len(TEXTS)
    for (name, entry), (language, _) in zip(texts.items(), TEXTS, strict=True):
        sound = soundfile.info(family.folder / "5-wav32k" / name)
        assert (sound.samplerate, sound.channels, sound.subtype) == (32_000, 1, "PCM_16")
        frames = (sound.frames // 2 - 80) // 320
        content = read_tensor(family.folder / "4-cnhubert" / f"{name}.pt")
        assert content.shape == (1, HUBERT["hidden_size"], frames)
        assert len(tokens[name]) == frames // 2
        bert = family.folder / "3-bert" / f"{name}.pt"
        assert bert.exists() == (language == "zh")
        if bert.exists():
            assert read_tensor(bert).shape == (1024, len(entry.phones))
        vector = family.folder / "7-sv_cn" / f"{name}.pt"
        assert vector.exists() == speaker
        if speaker:
            assert read_tensor(vector).shape == (1, 2560)


def check_trained(family: TinyExperiment, kind: str, path: Path) -> None:
    """Write the official model, moved a little, with the codebook that the tokens were made with."""
    before = open_checkpoint(find_part(family.models, kind, family.experiment.version))
    after = open_checkpoint(path)
    names = {name for name in before.state if not name.startswith("enc_q.")}
    assert set(after.state) == names
    moved = {name for name in names if not torch.equal(before.state[name].float(), after.state[name].float())}
    assert len(moved) > len(names) / 3
    assert not any("quantizer" in name or name.startswith("ssl_proj") for name in moved)


def test_a_stage_of_an_expert_names_the_one_part_that_it_lacks(family):
    find_part(family.models, "hubert").joinpath("config.json").unlink()

    with pytest.raises(ModelError, match=r"hubert .*config\.json not found") as failure:
        family.run("hubert_feature")

    assert "main.py download hubert" in failure.value.hint


def test_a_silent_segment_is_left_out_and_named(family):
    silent = next((family.folder / "segments").iterdir())
    soundfile.write(silent, [0.0] * 64_000, 32_000)

    outputs = family.run("hubert_feature")

    assert outputs["segments"] == len(TEXTS) - 1
    assert outputs["left_out"] == [{"segment": silent.name, "reason": "The recording is silent."}]
    assert not (family.folder / "5-wav32k" / silent.name).exists()


@pytest.mark.parametrize("name", ["../secret.pth", "/etc/passwd", "nothing.pth"])
def test_a_base_outside_the_folder_of_models_is_not_found(family, name):
    (family.data / "secret.pth").write_bytes(b"secret")
    family.run("hubert_feature")
    family.run("semantic_token")
    family.set_parameters("sovits_train", pretrained_s2G=name)

    with pytest.raises(NotFound, match="no file in the folder of models"):
        family.run("sovits_train")


def test_a_base_in_which_the_tokens_mean_something_else_is_refused(family):
    official = open_checkpoint(find_part(family.models, "sovits", "v2"))
    other = {name: -tensor if "codebook" in name else tensor for name, tensor in official.state.items()}
    save_checkpoint(
        family.models / "other.pth",
        Checkpoint(kind="sovits", version="v2", config=official.config, state=other, info={}),
    )
    family.run("hubert_feature")
    family.run("semantic_token")
    family.set_parameters("sovits_train", pretrained_s2G="GPT_SoVITS/pretrained_models/other.pth")

    with pytest.raises(InvalidRequest, match=r"other\.pth has another codebook"):
        family.run("sovits_train")
