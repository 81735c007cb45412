"""Sections of recipes become checked dataclasses."""

from __future__ import annotations

from typing import Any

import pytest

from GPT_SoVITS.configs import load_config
from GPT_SoVITS.configs.sections import read_section
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching.config import FlowMatchingConfig, FlowMatchingTrainSettings
from GPT_SoVITS.gpt.config import GPTConfig
from GPT_SoVITS.sovits.config import SoVITSConfig, SoVITSTrainSettings


@pytest.mark.parametrize("version", ["v1", "v2", "v2Pro", "v2ProPlus", "nano"])
def test_every_recipe_of_sovits_fills_its_config(version: str) -> None:
    recipe = load_config(version)

    config = read_section(SoVITSConfig, recipe["model"])

    assert config.upsample_rates == tuple(recipe["model"]["upsample_rates"])
    assert (config.frames is not None) == (version == "nano")
    assert read_section(SoVITSTrainSettings, recipe["train"], extra=True).betas == (0.8, 0.99)


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_every_recipe_of_flow_matching_fills_its_config(version: str) -> None:
    recipe = load_config(version)

    assert read_section(FlowMatchingConfig, recipe["model"]).dit.depth == 22
    assert read_section(FlowMatchingTrainSettings, recipe["train"], extra=True).length_edges[0] == 32


def test_a_gpt_config_reads_a_recipe_or_its_model_section_alone() -> None:
    recipe = load_config("nano_gpt")

    assert GPTConfig.from_recipe(recipe) == GPTConfig.from_recipe(recipe["model"])
    assert GPTConfig.from_recipe(recipe).pointers == ((1, 0), (2, 0))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"symbols": "many"}, "SoVITSConfig.symbols is 'many'; it must be of type int"),
        ({"symbols": True}, "SoVITSConfig.symbols is True; it must be of type int"),
        ({"symbols": 0}, "SoVITSConfig.symbols is 0; it must be above 0"),
        ({"upsample_rates": 8}, "SoVITSConfig.upsample_rates is 8; a list is needed"),
        ({"upsample_rates": [8, "x"]}, "SoVITSConfig.upsample_rates is 'x'; it must be of type int"),
        ({"frames": {"rate": 16000}}, "The setting FrameGeneratorConfig.hop is missing"),
        ({"colour": "red"}, "SoVITSConfig has no setting 'colour'"),
        ({"resblock": "3"}, "resblock is '3'; '1' and '2' work"),
        ({"mrte_hidden": 8}, "mrte_hidden must equal gin_channels"),
    ],
)
def test_a_setting_that_cannot_work_is_named(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ModelError) as refused:
        read_section(SoVITSConfig, load_config("v2")["model"] | changes)

    assert refused.value.code == "bad_config"
    assert fault in refused.value.message


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"hidden_dim": 8}, "hidden_dim 8 must equal embedding_dim"),
        ({"head": 7}, "cannot be cut into 7 heads"),
        ({"EOS": 3}, "The end token must be 1024"),
    ],
)
def test_a_gpt_whose_numbers_contradict_each_other_is_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ModelError, match=fault):
        GPTConfig.from_recipe(load_config("nano_gpt")["model"] | changes)
