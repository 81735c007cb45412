"""Which version is trained, by what a request names and by the official weights that are installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from experiment_support import complete
from placeholder_weights import install_version

from common.versions import UPSTREAM_VERSIONS
from core.errors import InvalidRequest, MissingWeights
from core.experiments.model_versions import ModelVersions
from core.experiments.requests import ExperimentRequest, TaskRequest
from core.experiments.service import ExperimentService
from core.jobs.queue import AsyncQueue
from core.limits import HostInfo, LimitService
from core.records import Records
from core.settings import read_settings


@pytest.mark.parametrize("requested", ["", "auto"])
@pytest.mark.parametrize(
    ("installed", "best"),
    [
        ((), "nano"),
        (("v1",), "v1"),
        (("v1", "v2"), "v2"),
        (("v2", "v3"), "v3"),
        (("v3", "v4"), "v4"),
        (("v4", "v2Pro"), "v2Pro"),
        (UPSTREAM_VERSIONS, "v2ProPlus"),
    ],
)
async def test_a_request_that_names_no_version_gets_the_best_that_is_installed(
    versions: ModelVersions, requested: str, installed: tuple[str, ...], best: str
) -> None:
    for version in installed:
        install_version(versions.folder, version)

    assert await versions.choose(requested, "zh", {}) == best


@pytest.mark.parametrize("version", UPSTREAM_VERSIONS)
async def test_a_named_version_without_weights_is_rejected_with_the_command_that_fetches_them(
    versions: ModelVersions, version: str
) -> None:
    with pytest.raises(MissingWeights) as rejection:
        await versions.choose(version, "zh", {})

    assert rejection.value.status == 422
    assert f"`main.py download {version}`" in rejection.value.hint
    assert "nano" in rejection.value.hint
    assert {"gpt", "sovits", "hubert", "roberta"} <= set(rejection.value.details["parts"])

    install_version(versions.folder, version)

    assert await versions.choose(version, "zh", {}) == version


async def test_a_half_fetched_version_is_not_installed(versions: ModelVersions) -> None:
    install_version(versions.folder, "v2", without=("hubert",))

    assert await versions.choose("auto", "zh", {}) == "nano"
    with pytest.raises(MissingWeights, match=r"not on this machine: hubert\."):
        await versions.choose("v2", "zh", {})


async def test_only_mandarin_needs_roberta(versions: ModelVersions) -> None:
    install_version(versions.folder, "v2", without=("roberta",))

    assert await versions.choose("", "en", {}) == await versions.choose("v2", "ja", {}) == "v2"
    assert await versions.choose("", "zh", {}) == "nano"
    with pytest.raises(MissingWeights):
        await versions.choose("v2", "zh", {})


async def test_v1_is_not_chosen_for_a_language_that_it_does_not_speak(versions: ModelVersions) -> None:
    install_version(versions.folder, "v1")

    assert (await versions.choose("", "ko", {}), await versions.choose("", "ja", {})) == ("nano", "v1")


async def test_weights_that_parameters_name_are_not_missed(versions: ModelVersions) -> None:
    install_version(versions.folder, "v2", without=("gpt", "sovits"))
    own = {"gpt_train": {"pretrained_s1": "ckpt-1"}, "sovits_train": {"pretrained_s2G": "ckpt-2"}}

    assert await versions.choose("v2", "zh", own) == "v2"
    with pytest.raises(MissingWeights, match=r"not on this machine: gpt\."):
        await versions.choose("v2", "zh", {"sovits_train": own["sovits_train"]})


async def test_the_default_of_the_setting_counts_as_named(tmp_path: Path) -> None:
    versions = ModelVersions(tmp_path / "models", default="v4")

    with pytest.raises(MissingWeights, match="Version v4"):
        await versions.choose("", "en", {})
    assert await versions.choose("auto", "en", {}) == "nano"
    with pytest.raises(InvalidRequest, match="No version is named 'v5'"):
        await versions.choose("v5", "en", {})


async def test_weights_of_another_host_count_as_a_whole(tmp_path: Path, records: Records, queue: AsyncQueue) -> None:
    limits = LimitService(read_settings(data_path=tmp_path), records, queue)
    await limits.report_host(HostInfo("there", 8, 32_000, [], ["gpt v2", "sovits v2", "discriminator v2", "hubert"]))

    assert await ModelVersions(tmp_path / "models", limits=limits).choose("", "en", {}) == "v2"
    install_version(tmp_path / "models", "v2", without=("gpt",))
    assert await ModelVersions(tmp_path / "models", limits=limits).choose("", "zh", {}) == "nano"


async def test_tasks_are_rejected_or_chosen_for_when_they_are_created(
    service: ExperimentService, records: Records, versions: ModelVersions
) -> None:
    with pytest.raises(MissingWeights):
        await service.tasks.create(TaskRequest("bob", "file-1", version="v2"))
    assert (await records.tasks.page()).total == 0
    chosen = await service.tasks.create(TaskRequest("bob", "file-1"))
    install_version(versions.folder, "v2")
    better = await service.tasks.create(TaskRequest("bob", "file-1", version="auto"))

    assert (chosen.version, better.version) == ("nano", "v2")


async def test_an_experiment_misses_the_weights_of_v2_when_a_stage_loads_them(
    service: ExperimentService, versions: ModelVersions
) -> None:
    experiment = await service.create(ExperimentRequest("bob", "file-1", version="v2", language="zh"))
    with pytest.raises(MissingWeights):
        await service.stages.run_preset(experiment.id, "full_training")
    with pytest.raises(MissingWeights):
        await service.create(ExperimentRequest("bob", "file-1", version="v3"))
    await complete(service, experiment.id, "convert", "audio_slice")
    with pytest.raises(MissingWeights, match="hubert"):
        await service.stages.run(experiment.id, "hubert_feature")
    await complete(service, experiment.id, "asr")

    install_version(versions.folder, "v2")
    await service.stages.run_preset(experiment.id, "full_training")
    shutil.rmtree(versions.folder)
    unnamed = await service.create(ExperimentRequest("bob", "file-1"))

    assert (unnamed.version, unnamed.version_named) == ("nano", False)
    assert (experiment.version, experiment.version_named) == ("v2", True)
