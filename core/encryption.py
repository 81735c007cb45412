"""Encryption of secrets that are kept in the database, by keys that are not.

The keys come from SECRETS_KEY, or from a file that is created at first use. The first key encrypts; each of them
decrypts, so that a key can be replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import NotReady
from core.private_files import create_once

if TYPE_CHECKING:
    # Loaded where it is used: it costs each process 7 MiB, and few ever see a secret.
    from cryptography.fernet import Fernet

PREFIX: Final = "fernet:"
"""Begins every encrypted value; anything else is plaintext of an earlier version."""
KEY_FILE: Final = "secrets.key"
"""Name of the key file in the data folder."""


class SecretsLocked(NotReady):
    """A secret that the keys at hand do not decrypt."""

    code = "secrets_locked"


def check_keys(keys: Iterable[str]) -> None:
    """Raise ValueError unless each key is 32 bytes in URL-safe base64; the message contains no key."""
    for key in keys:
        from cryptography.fernet import Fernet

        try:
            Fernet(key)
        except ValueError:
            raise ValueError("a key is 32 bytes in URL-safe base64, 44 characters") from None


class SecretBox:
    """Encrypts and decrypts the secrets of one installation."""

    def __init__(self, key_file: Path, keys: Iterable[str] = (), *, may_create: bool = True) -> None:
        """Use `keys`, and after them the one in the file.

        `may_create`: without any key, the file is created at first use; else secrets stay plaintext.
        """
        self.key_file = key_file
        self.may_create = may_create
        self._configured = tuple(keys)

    @property
    def has_key(self) -> bool:
        """Whether there is a key already."""
        return bool(self._configured) or self.key_file.exists()

    def encrypt(self, secret: str) -> str:
        """Return a secret as the database is to keep it."""
        if not self.has_key:
            if not self.may_create:
                return secret
            from cryptography.fernet import Fernet

            create_once(self.key_file, Fernet.generate_key() + b"\n")
        return PREFIX + self._ciphers()[0].encrypt(secret.encode()).decode()

    def decrypt(self, stored: str) -> str:
        """Return the secret that the database keeps; plaintext of an earlier version is returned as it is.

        Raises:
            SecretsLocked: there is no key, or another one encrypted it.
        """
        if not stored.startswith(PREFIX):
            return stored
        from cryptography.fernet import InvalidToken

        for cipher in self._ciphers():
            try:
                return cipher.decrypt(stored.removeprefix(PREFIX)).decode()
            except InvalidToken:
                continue
        if self.has_key:
            raise self._locked("was encrypted with another key than the one in")
        raise self._locked("cannot be decrypted, because there is no")

    def is_current(self, stored: str) -> bool:
        """Return whether a stored secret was encrypted with the first key."""
        from cryptography.fernet import InvalidToken

        ciphers = self._ciphers()
        if not stored.startswith(PREFIX) or not ciphers:
            return False
        try:
            ciphers[0].decrypt(stored.removeprefix(PREFIX))
        except InvalidToken:
            return False
        return True

    def _ciphers(self) -> list[Fernet]:
        from cryptography.fernet import Fernet

        ciphers = [Fernet(key) for key in self._configured]
        if self.key_file.exists():
            key = self.key_file.read_text().strip()
            try:
                ciphers.append(Fernet(key))
            except ValueError:
                if not ciphers:
                    raise self._locked("cannot be decrypted, for there is no key of 32 bytes in base64 in") from None
        return ciphers

    def _locked(self, reason: str) -> SecretsLocked:
        return SecretsLocked(
            f"The webhook's secret {reason} {self.key_file}.",
            hint="Put the key that encrypted it there or into SECRETS_KEY, or register the webhook anew.",
        )
