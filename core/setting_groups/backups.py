"""Settings of backups, and of the epochs that keep two sites from writing at once."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from core.setting_values import ClockTime, CommaList, StorageAddress


class BackupSettings(BaseSettings):
    """Backups and fencing."""

    backup_url: StorageAddress = ""
    """Where backups go: a folder (`file:///…`) or a bucket (`s3://…`); empty: none are made."""
    backup_schedule: ClockTime = "02:00"
    """Local time of the daily backup; one that was missed is made up for at the start. Empty: no daily backup."""
    backup_every_seconds: float = Field(5.0, ge=0)
    """Between two batches of changes of the records, which follow a backup; 0: none are sent."""
    backup_archive: bool = False
    """Whether each backup is written as one tar.gz as well."""
    backup_mbit_per_second: float = Field(0.0, ge=0)
    """Bandwidth that a backup or a restore may use, in Mbit/s; 0: no limit."""
    backup_keep_days: float = Field(30.0, ge=0)
    """Days after which a backup is deleted when another one is made; 0 keeps all."""
    backup_keep_count: int = Field(7, ge=1)
    """Backups that are kept however old they are."""
    backup_public_keys: CommaList = ()
    """Public keys of the sites whose backups are restored here, separated by commas; empty: of any site, until this one
    has made a backup of its own."""
    fencing: bool = False
    """Whether this site writes only while it holds the newest epoch in BACKUP_URL, so that a site which was replaced
    rejects writes when it comes back."""
    fencing_lease_seconds: float = Field(15.0, ge=3)
    """Seconds for which a site may write after it saw that its epoch is the newest; a switch waits for as long."""
    fencing_renew_seconds: float = Field(3.0, gt=0)
    """Seconds between two looks at the epochs."""
    fencing_on_loss: Literal["reject", "serve"] = "reject"
    """When the lease is over and cannot be renewed: reject writes, or serve them, which allows two writers."""
