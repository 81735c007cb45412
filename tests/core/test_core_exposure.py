"""An API that other machines can reach needs a key, or somebody who says that it needs none."""

from __future__ import annotations

import logging

import pytest

from core.exposure import OpenToNetwork, check_exposure, has_recorded_key, is_loopback
from core.records import Records, upgrade
from core.settings import read_settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "LocalHost", "::1", "[::1]"])
def test_loopback_addresses_need_no_key(host: str):
    assert is_loopback(host)
    check_exposure(read_settings(host=host), has_key=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "studio.local", "127.0.0.1.example.com", ""])
def test_other_addresses_without_a_key_stop_the_start_with_two_lines_to_paste(host: str):
    with pytest.raises(OpenToNetwork) as error:
        check_exposure(read_settings(host=host), has_key=False)

    lines = error.value.hint.splitlines()
    [key_line] = [line for line in lines if line.startswith("VALID_API_KEYS=sk-")]
    assert "ALLOW_OPEN_ACCESS=true" in lines
    check_exposure(read_settings(host=host, valid_api_keys=key_line.partition("=")[2]), has_key=False)


def test_a_key_in_the_records_is_enough_also_a_revoked_one():
    check_exposure(read_settings(host="0.0.0.0"), has_key=True)


def test_open_access_is_allowed_with_a_warning_at_every_start(caplog: pytest.LogCaptureFixture):
    settings = read_settings(host="0.0.0.0", allow_open_access=True)

    for _ in range(2):
        check_exposure(settings, has_key=False)

    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert "HOST=0.0.0.0" in warnings[0].getMessage()


async def test_a_recorded_key_counts_after_it_was_revoked(tmp_path):
    settings = read_settings(data_path=tmp_path)
    upgrade(settings.resolved_database_url)
    assert not await has_recorded_key(settings)
    records = Records(settings.resolved_database_url)
    await records.api_keys.create("only")
    await records.api_keys.revoke("only")
    await records.close()

    assert await has_recorded_key(settings)
