"""The YAML file of the training service: its names, and that the environment wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.settings import BadSettings, read_settings

COMPLETE = """
server: {host: "0.0.0.0", port: 8000, workers: 4}
paths: {base_dir: %s, work_dir: %s}
gpu: {default_device: "1", max_parallel: 4}
training: {default_epochs_s2: 50, default_epochs_s1: 15, default_batch_size: 16}
"""


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOST", "PORT", "API_PORT", "DATA_PATH", "CONFIG_FILE", "MODELS_PATH", "API_WORKERS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("place", ["config.yaml", "config/config.yaml", "elsewhere.yml"])
def test_every_name_of_the_file_is_a_setting(tmp_path, monkeypatch, place):
    weights = tmp_path / "GPT-SoVITS" / "GPT_SoVITS" / "pretrained_models"
    weights.mkdir(parents=True)
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(COMPLETE % (tmp_path / "GPT-SoVITS", tmp_path / "work dir"))
    if place == "elsewhere.yml":
        monkeypatch.setenv("CONFIG_FILE", place)

    current = read_settings()

    assert (current.host, current.port, current.api_workers) == ("0.0.0.0", 8000, 4)
    assert (current.models_folder, current.data_path) == (weights, tmp_path / "work dir")
    assert (current.default_gpu, current.num_preprocessors) == ("1", 4)
    assert (current.default_epochs_s2, current.default_epochs_s1, current.default_batch_size) == (50, 15, 16)


@pytest.mark.parametrize("name", ["PORT", "API_PORT"])
def test_the_environment_wins(tmp_path, monkeypatch, name):
    (tmp_path / "config.yaml").write_text("server: {port: 8000, workers: 4}")
    monkeypatch.setenv(name, "9000")
    monkeypatch.setenv("API_WORKERS", "2")

    assert (read_settings().port, read_settings().api_workers) == (9000, 2)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("server: {prot: 1}", "has names that are no setting: server.prot"),
        ("server: [1", "is no YAML that can be read"),
        ("port: 8000", "does not consist of sections of names"),
        ("server: {workers: many}", "API_WORKERS is 'many'"),
    ],
)
def test_a_file_that_cannot_be_used_is_told(tmp_path, content, sentence):
    (tmp_path / "config.yaml").write_text(content)

    with pytest.raises(BadSettings, match=sentence):
        read_settings()


def test_a_file_that_is_named_and_missing_is_told(monkeypatch):
    monkeypatch.setenv("CONFIG_FILE", "nowhere.yaml")

    with pytest.raises(BadSettings, match=r"CONFIG_FILE=nowhere\.yaml cannot be read"):
        read_settings()
