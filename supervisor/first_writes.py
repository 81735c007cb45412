"""What a supervisor writes once, when its site starts or is allowed to write."""

from __future__ import annotations

from core.records import Records
from core.settings import Settings
from core.storage import Storage
from core.webhooks.stored_secrets import encrypt_stored_secrets
from supervisor.bundled_voices import publish_bundled_voices


async def prepare_records(settings: Settings, records: Records, storage: Storage) -> None:
    """Encrypt secrets of versions that did not, and publish the bundled voices."""
    await encrypt_stored_secrets(records, settings.secret_box)
    await publish_bundled_voices(settings, records, storage)
