"""Guesses of API keys: logged, and throttled by address."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
from api_support import Api, running

from api.http.wrong_keys import MAX_ATTEMPTS, MAX_DIFFERENT, WINDOW_SECONDS, TooManyWrongKeys, WrongKeys
from core.audit import AuditLog
from core.settings import Settings


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with running(settings.model_copy(update={"valid_api_keys": ("k1", "k2")})) as running_api:
        yield running_api


async def status(api: Api, key: str) -> int:
    return (await api.client.get("/api/v1/tasks", headers={"X-API-Key": key})).status_code


async def test_an_address_that_guesses_has_to_wait(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    used_before = await status(api, "k1")
    guesses = [await status(api, f"guess-{number}") for number in range(MAX_DIFFERENT)]
    blocked = await api.client.get("/api/v1/tasks", headers={"X-API-Key": "another"})
    right_guess = await status(api, "k2")
    without = await api.client.get("/api/v1/tasks")
    rejected = [entry.status for entry in AuditLog.of(api.settings).entries()]

    assert (used_before, set(guesses), blocked.status_code, right_guess) == (200, {401}, 429, 429)
    assert blocked.json()["error"]["code"] == "too_many_wrong_keys"
    assert 1 <= int(blocked.headers["retry-after"]) <= WINDOW_SECONDS
    assert without.status_code == 401
    assert await status(api, "k1") == 200
    assert (rejected.count(401), rejected.count(429)) == (MAX_DIFFERENT + 1, 2)
    assert caplog.text.count("A wrong API key came from 127.0.0.1.") == 1
    assert "guess-" not in caplog.text


async def test_a_client_that_repeats_an_old_key_keeps_its_401(api: Api) -> None:
    assert {await status(api, "old") for _ in range(2 * MAX_DIFFERENT)} == {401}


def test_the_next_window_allows_other_keys() -> None:
    now = 0.0
    wrong_keys = WrongKeys(lambda: now)
    for number in range(MAX_DIFFERENT):
        wrong_keys.add("192.0.2.1", str(number))

    wrong_keys.check("192.0.2.2", "other")
    with pytest.raises(TooManyWrongKeys):
        wrong_keys.check("192.0.2.1", "other")
    now += WINDOW_SECONDS
    wrong_keys.check("192.0.2.1", "other")


def test_a_network_of_ipv6_counts_as_one_address() -> None:
    wrong_keys = WrongKeys(lambda: 0.0)
    for number in range(MAX_DIFFERENT):
        wrong_keys.add(f"2001:db8::{number:x}", str(number))

    with pytest.raises(TooManyWrongKeys):
        wrong_keys.check("2001:db8::ffff", "other")
    wrong_keys.check("2001:db8:0:1::", "other")


def test_repetitions_have_a_limit_too() -> None:
    wrong_keys = WrongKeys(lambda: 0.0)
    for _ in range(MAX_ATTEMPTS):
        wrong_keys.add("192.0.2.1", "same")

    with pytest.raises(TooManyWrongKeys):
        wrong_keys.check("192.0.2.1", "same")
