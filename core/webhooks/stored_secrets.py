"""Secrets of webhooks in the database: encrypted, and with the key of today."""

from __future__ import annotations

import logging

from core.encryption import SecretBox, SecretsLocked
from core.errors import RecordsUnavailable
from core.records import Records

logger = logging.getLogger(__name__)


async def encrypt_stored_secrets(records: Records, secret_box: SecretBox) -> None:
    """Encrypt secrets that an earlier version left as plaintext or that have an old key; harmless when repeated.

    A secret that cannot be encrypted or decrypted stays as it is, and one line in the log says why.
    """
    locked: SecretsLocked | None = None
    encrypted = plaintext = 0
    for webhook_id, stored in (await records.webhooks.secrets()).items():
        try:
            if secret_box.is_current(stored):
                continue
            changed = secret_box.encrypt(secret_box.decrypt(stored))
        except SecretsLocked as error:
            locked = error
            continue
        if changed == stored:
            plaintext += 1
        else:
            encrypted += await records.webhooks.replace_secret(webhook_id, stored, changed)
    if encrypted:
        logger.info("Encrypted the secrets of %d webhooks.", encrypted)
        try:
            await records.database.erase_deleted()
        except RecordsUnavailable as error:
            logger.warning("What was there before is still in the free pages of the database: %s", error.message)
    if plaintext:
        logger.warning(
            "The secrets of %d webhooks are not encrypted in the database, which other hosts may share: "
            "set the same SECRETS_KEY on every host.",
            plaintext,
        )
    if locked is not None:
        logger.error("%s %s", locked.message, locked.hint)
