"""Secrets are encrypted with keys that lie elsewhere."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from core.encryption import SecretBox, SecretsLocked, check_keys

SECRET = "whsec_" + "A" * 44
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "secrets.key"


def test_a_key_file_is_created_at_first_use_for_its_owner_alone(key_file: Path):
    box = SecretBox(key_file)
    assert not key_file.exists()

    stored = box.encrypt(SECRET)

    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert SECRET not in stored
    assert SecretBox(key_file).decrypt(stored) == SECRET
    assert [path.name for path in key_file.parent.iterdir()] == ["secrets.key"]


def test_processes_that_begin_at_once_use_one_key(key_file: Path):
    with ThreadPoolExecutor(8) as threads:
        stored = list(threads.map(lambda _: SecretBox(key_file).encrypt(SECRET), range(8)))

    assert {SecretBox(key_file).decrypt(value) for value in stored} == {SECRET}


def test_a_configured_key_needs_no_file(key_file: Path):
    stored = SecretBox(key_file, [NEW]).encrypt(SECRET)

    assert not key_file.exists()
    assert SecretBox(key_file, [NEW]).decrypt(stored) == SECRET


def test_an_old_key_still_decrypts_and_the_first_one_encrypts(key_file: Path):
    old = SecretBox(key_file, [OLD]).encrypt(SECRET)
    box = SecretBox(key_file, [NEW, OLD])

    assert box.decrypt(old) == SECRET
    assert not box.is_current(old)
    assert box.is_current(box.encrypt(SECRET))


def test_a_key_file_goes_on_decrypting_once_a_key_is_configured(key_file: Path):
    stored = SecretBox(key_file).encrypt(SECRET)

    assert SecretBox(key_file, [NEW]).decrypt(stored) == SECRET


def test_another_key_and_a_missing_key_are_said_in_a_sentence_without_the_secret(key_file: Path):
    stored = SecretBox(key_file, [OLD]).encrypt(SECRET)

    with pytest.raises(SecretsLocked, match="because there is no") as missing:
        SecretBox(key_file).decrypt(stored)
    with pytest.raises(SecretsLocked, match="another key") as wrong:
        SecretBox(key_file, [NEW]).decrypt(stored)

    for error in (missing.value, wrong.value):
        assert error.message.count(". ") == 0
        assert str(key_file) in error.message
        assert "SECRETS_KEY" in error.hint
        assert stored not in f"{error.message} {error.hint}"
    assert not key_file.exists(), "a new key would hide that the old one is missing"


def test_a_file_that_holds_no_key_is_named(key_file: Path):
    stored = SecretBox(key_file).encrypt(SECRET)
    key_file.write_text("nonsense")

    with pytest.raises(SecretsLocked, match=r"no key of 32 bytes in base64 in .*secrets\.key"):
        SecretBox(key_file).decrypt(stored)


def test_plaintext_of_an_earlier_version_is_read_and_hosts_that_share_a_database_create_no_key(key_file: Path):
    box = SecretBox(key_file, may_create=False)

    assert box.decrypt(SECRET) == SECRET
    assert box.encrypt(SECRET) == SECRET
    assert not key_file.exists()


@pytest.mark.parametrize("key", ["short", "ä" * 44, OLD[:-2], "*" * 44], ids=["short", "accents", "cut off", "stars"])
def test_what_is_no_key_is_rejected_without_repeating_it(key: str):
    with pytest.raises(ValueError, match="32 bytes") as error:
        check_keys([OLD, key])

    assert key not in str(error.value)
