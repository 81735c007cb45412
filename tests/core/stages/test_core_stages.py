"""Stage names, the order they run in, and their parameters."""

from __future__ import annotations

from typing import get_args

import pytest

from common.stage_names import StageName
from common.versions import VERSIONS
from core.errors import InvalidParameter, InvalidRequest, NotFound
from core.stages.order import dependent_stages, overall_progress, ready_stages, stage_order, unmet_needs
from core.stages.parameter_schema import accept_parameters, describe_parameters, parse_parameters
from core.stages.presets import PRESETS, QUALITIES
from core.stages.stage import STAGE_ALIASES, STAGES, find_stage
from core.stages.status import StageStatus

DONE = StageStatus.COMPLETED


def completed(*names: str) -> dict[str, StageStatus]:
    return dict.fromkeys(names, DONE)


def test_the_catalog_holds_the_stages_that_have_a_name():
    assert tuple(STAGES) == get_args(StageName)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_stage_comes_after_what_it_needs(version):
    seen: list[str] = []
    for name in stage_order(version, with_test=True):
        assert set(STAGES[name].needs) <= set(seen)
        assert set(STAGES[name].after) & set(stage_order(version)) <= set(seen)
        seen.append(name)


@pytest.mark.parametrize("version", VERSIONS)
def test_speaker_vectors_belong_to_the_pro_family_alone(version):
    assert ("speaker_vector" in stage_order(version)) == version.startswith("v2Pro")


def test_a_task_does_not_run_the_test_inference():
    assert "test_inference" not in stage_order("v2")
    assert stage_order("v2", with_test=True)[-1] == "test_inference"


def test_an_unknown_version_is_answered_with_those_there_are():
    with pytest.raises(InvalidRequest) as caught:
        stage_order("v9")

    assert "v2ProPlus" in caught.value.hint


def test_the_eleven_step_names_lead_to_the_same_stages():
    assert set(STAGE_ALIASES.values()) == set(STAGES) - {"test_inference"}
    assert find_stage("train_gpt") is find_stage("gpt_train")
    assert find_stage("extract_semantic_features").name == "semantic_token"


def test_an_unknown_stage_is_answered_with_those_there_are():
    with pytest.raises(NotFound) as caught:
        find_stage("mastering")

    assert "audio_slice" in caught.value.hint


def test_a_task_begins_with_convert():
    assert ready_stages({}, "v2") == ("convert",)


def test_recognition_and_features_wait_for_denoise_in_a_task():
    sliced = completed("convert", "audio_slice")

    assert ready_stages(sliced, "v2") == ("denoise",)
    assert ready_stages(sliced | completed("denoise"), "v2") == ("asr", "hubert_feature")


def test_both_trainings_are_ready_together():
    before = completed(*(name for name in stage_order("v2Pro") if not name.endswith("_train")))

    assert ready_stages(before, "v2Pro") == ("sovits_train", "gpt_train")


def test_sovits_training_waits_for_the_speaker_vectors():
    before = completed(*(name for name in stage_order("v2Pro") if not name.endswith("_train")))
    del before["speaker_vector"]

    assert ready_stages(before, "v2Pro") == ("speaker_vector", "gpt_train")


@pytest.mark.parametrize("status", [status for status in StageStatus if status not in ("pending", "stale")])
def test_only_what_never_ran_or_is_stale_is_ready(status):
    assert "convert" not in ready_stages({"convert": status}, "v2")


def test_a_stale_stage_is_ready_again():
    assert ready_stages({"convert": StageStatus.STALE}, "v2") == ("convert",)


def test_unmet_needs_are_named_and_a_stale_one_is_unmet():
    assert unmet_needs("sovits_train", {"text_feature": StageStatus.STALE}) == ("text_feature", "semantic_token")
    assert unmet_needs("gpt_train", completed("text_feature", "semantic_token")) == ()


def test_everything_made_from_a_stage_depends_on_it():
    assert dependent_stages("asr") == ("text_feature", "sovits_train", "gpt_train", "test_inference")
    assert "asr" in dependent_stages("denoise")
    assert dependent_stages("test_inference") == ()


@pytest.mark.parametrize("version", VERSIONS)
def test_overall_progress_goes_from_nothing_to_one(version):
    progress: dict[str, float] = {}
    last = overall_progress(progress, version)
    assert last == 0.0
    for name in stage_order(version):
        progress[name] = 1.0
        now = overall_progress(progress, version)
        assert now > last
        last = now
    assert last == pytest.approx(1.0)


def test_the_defaults_are_those_that_were_promised():
    assert parse_parameters("audio_slice", {}) == {
        "threshold": -34,
        "min_length": 4000,
        "min_interval": 300,
        "hop_size": 10,
        "max_sil_kept": 500,
        "_max": 0.9,
        "alpha": 0.25,
        "n_parts": 1,
    }
    sovits = parse_parameters("sovits_train", {})
    assert (sovits["batch_size"], sovits["total_epoch"], sovits["save_every_epoch"]) == (4, 8, 4)
    gpt = parse_parameters("gpt_train", {})
    assert (gpt["batch_size"], gpt["total_epoch"], gpt["save_every_epoch"]) == (4, 15, 5)


def test_an_unknown_parameter_is_named():
    with pytest.raises(InvalidParameter) as caught:
        parse_parameters("asr", {"langauge": "en"})

    assert "asr has no parameter 'langauge'" in caught.value.message
    assert "language" in caught.value.hint
    assert caught.value.status == 422
    assert caught.value.details == {"parameters": ["langauge"]}


@pytest.mark.parametrize(
    ("stage", "parameter", "value"),
    [
        ("audio_slice", "threshold", -61),
        ("audio_slice", "min_length", 999),
        ("audio_slice", "hop_size", 51),
        ("audio_slice", "_max", float("nan")),
        ("sovits_train", "batch_size", 33),
        ("sovits_train", "total_epoch", 0),
        ("sovits_train", "lora_rank", 7),
        ("gpt_train", "total_epoch", 101),
        ("gpt_train", "save_every_epoch", 0),
        ("asr", "language", "klingon"),
    ],
)
def test_a_value_out_of_range_is_named(stage, parameter, value):
    with pytest.raises(InvalidParameter, match=rf"{stage}\.{parameter} is"):
        parse_parameters(stage, {parameter: value})


SHOWN_DEFAULTS = {
    "pretrained_s2G": "GPT_SoVITS/pretrained_models/gsv-v2final-pretrained/s2G2333k.pth",
    "pretrained_s2D": "GPT_SoVITS/pretrained_models/gsv-v2final-pretrained/s2D2333k.pth",
}
"""Of v2; they stand for those of any version."""


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_the_schema_describes_every_parameter(stage):
    described = describe_parameters(stage)

    assert [parameter["name"] for parameter in described] == list(parse_parameters(stage, {}))
    for parameter in described:
        assert parameter["description"]
        default = parse_parameters(stage, {})[parameter["name"]]
        recognizer = {"model": "达摩 ASR (中文)"} if stage == "asr" else {}
        assert parameter["default"] == (SHOWN_DEFAULTS | recognizer).get(parameter["name"], default)


def test_the_schema_tells_the_range():
    threshold = describe_parameters("audio_slice")[0]

    assert (threshold["name"], threshold["type"], threshold["default"]) == ("threshold", "integer", -34)
    assert (threshold["min"], threshold["max"]) == (-60, 0)
    [unlimited] = [row for row in describe_parameters("gpt_train") if row["name"] == "save_every_epoch"]
    assert (unlimited["min"], unlimited["max"]) == (1, None)


@pytest.mark.parametrize(("value", "kept"), [(-40, -40), (-40.0, -40), (-40.5, -40.5)])
def test_a_threshold_without_a_fraction_is_an_integer(value, kept):
    threshold = parse_parameters("audio_slice", {"threshold": value})["threshold"]

    assert (threshold, type(threshold)) == (kept, type(kept))


def test_what_a_stage_does_not_know_is_accepted_with_a_warning():
    accepted = accept_parameters("gpt_train", {"total_epoch": 3, "learning_rate": 1, "pretrained_s1": None})

    assert accepted.values == {"total_epoch": 3}
    assert accepted.warnings == ["gpt_train has no parameter 'learning_rate'; it changes nothing."]


def test_the_recognizer_of_other_servers_is_accepted_with_a_warning():
    accepted = accept_parameters("asr", {"model": "达摩 ASR (中文)", "language": "zh"})

    assert accepted.values == {"model": "达摩 ASR (中文)", "language": "zh"}
    assert "`main.py download sensevoice`" in accepted.warnings[0]


@pytest.mark.parametrize("quality", sorted(QUALITIES))
def test_a_quality_sets_parameters_that_exist(quality):
    for stage, parameters in QUALITIES[quality].items():
        assert parse_parameters(stage, parameters).items() >= parameters.items()


def test_presets_name_stages_that_exist():
    assert {preset.id for preset in PRESETS} == {"full_training", "retrain_sovits", "feature_extraction"}
    assert all(name in STAGES for preset in PRESETS for name in preset.stages)
