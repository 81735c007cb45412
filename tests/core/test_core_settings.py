"""env.example says what Settings read, and a bad value is explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.settings import REPOSITORY, BadSettings, Settings, read_settings

EXAMPLE = REPOSITORY / "env.example"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the machine's variables nor a `.env` file take part."""
    monkeypatch.chdir(tmp_path)
    for name in [*Settings.model_fields, "api_port"]:
        monkeypatch.delenv(name.upper(), raising=False)


def example_lines() -> dict[str, tuple[str, bool]]:
    """Name → (value, whether it is active)."""
    documented = {}
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"(# )?([A-Z][A-Z0-9_]+)=(.*)", line):
            documented[match[2]] = (match[3], match[1] is None)
    return documented


def test_the_example_names_every_setting_and_no_other():
    assert set(example_lines()) == {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_the_example_shows_the_default(name, monkeypatch):
    value, active = example_lines()[name.upper()]
    default = getattr(read_settings(), name)
    if not active:
        assert default == REPOSITORY / value
        return

    monkeypatch.setenv(name.upper(), value)

    assert getattr(read_settings(), name) == default


def test_every_setting_has_a_sentence_above_it():
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.match(r"(# )?[A-Z][A-Z0-9_]+=", line):
            above = lines[number - 1]
            assert above.startswith("# ") or above.startswith("REDIS_"), line


def test_a_bad_value_is_named_with_what_is_wrong_with_it(monkeypatch):
    monkeypatch.setenv("NUM_MODELS", "many")
    monkeypatch.setenv("GPU_MEMORY_PER_MODEL_MB", "0")

    with pytest.raises(BadSettings) as caught:
        read_settings()

    assert "NUM_MODELS is 'many'" in caught.value.message
    assert "GPU_MEMORY_PER_MODEL_MB is '0'" in caught.value.message
    assert "-1 for an even spread" in caught.value.message


def test_the_port_goes_by_two_names(monkeypatch):
    monkeypatch.setenv("API_PORT", "8123")

    assert read_settings().port == 8123
    assert read_settings(port=0).port == 0


def test_a_bad_port_is_called_a_port(monkeypatch):
    monkeypatch.setenv("PORT", "70000")

    with pytest.raises(BadSettings, match="PORT is '70000'"):
        read_settings()


@pytest.mark.parametrize("name", ["redis_url", "database_url", "storage_url", "valid_api_keys"])
def test_a_bad_value_that_may_hold_a_secret_is_not_shown(name):
    with pytest.raises(BadSettings) as caught:
        read_settings(**{name: {"password": "s3cret"}})

    assert name.upper() in caught.value.message
    assert "(hidden)" in caught.value.message
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_bad_number_beside_a_secret_url_shows_the_number_alone():
    with pytest.raises(BadSettings) as caught:
        read_settings(redis_port=0, redis_url="redis://:s3cret@host/0")

    assert "REDIS_PORT is 0" in caught.value.message
    assert "s3cret" not in caught.value.message


def test_keys_and_hosts_are_separated_by_commas(monkeypatch):
    monkeypatch.setenv("VALID_API_KEYS", "one, two,,")
    monkeypatch.setenv("FETCH_ALLOWED_HOSTS", "nas.local")

    assert read_settings().valid_api_keys == ("one", "two")
    assert read_settings().fetch_allowed_hosts == ("nas.local",)


def test_three_redis_settings_make_one_url_and_the_url_wins():
    assert read_settings(redis_host="db", redis_port=7000, redis_db=2).resolved_redis_url == "redis://db:7000/2"
    assert read_settings(redis_host="db", redis_url="redis://other/0").resolved_redis_url == "redis://other/0"
    assert read_settings().resolved_redis_url == ""


def test_records_and_artefacts_lie_under_the_data_folder(tmp_path):
    settings = read_settings(data_path=tmp_path)

    assert settings.resolved_database_url == f"sqlite+aiosqlite:///{tmp_path}/sovitsd.sqlite3"
    assert settings.storage_root == tmp_path / "storage"
    assert read_settings(storage_url="file:///srv/artefacts").storage_root == Path("/srv/artefacts")


@pytest.mark.parametrize("value", ["hf-mirror.example", "ftp://hf-mirror.example", "file:///tmp"])
def test_a_mirror_is_an_address_of_the_web(value, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", value)

    with pytest.raises(BadSettings, match="must begin with http:// or https://"):
        read_settings()


def test_a_mirror_needs_no_slash_at_its_end(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://hf-mirror.example/")

    assert read_settings().hf_endpoint == "https://hf-mirror.example"
