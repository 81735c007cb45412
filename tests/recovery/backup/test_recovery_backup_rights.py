"""The policies of docs/backup.md suffice for a bucket that refuses everything else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from backup_sites import Site, start_main
from policy_gate import PolicyGate, documented_policies

from core.errors import StorageUnavailable
from core.primary_lease import NotPrimary
from recovery.backup.verify import verify_backup
from recovery.standby.audit_chain import AuditChain
from recovery.standby.epochs import Epochs, LeaseRenewal
from recovery.standby.site import SiteIdentity
from recovery.standby.watch import prefetch

pytestmark = pytest.mark.slow


class PatientSite(Site):
    """One whose bucket may be slow, but refuses at once what it refuses."""

    retry_seconds = 60.0


@pytest.fixture
def gates(buckets: Any) -> Iterator[tuple[PolicyGate, PolicyGate, str, str]]:
    """Yield a bucket as the main site and the standby may use it: a gate and an address for each."""
    url: str = buckets.new_bucket()
    with ExitStack() as stack:
        of_main, of_standby = (
            stack.enter_context(PolicyGate(buckets.port, policy))
            for policy in documented_policies(urlsplit(url).netloc)
        )
        addresses = [url.replace(f":{buckets.port}", f":{gate.port}") for gate in (of_main, of_standby)]
        yield of_main, of_standby, addresses[0], addresses[1]


def test_the_main_site_backs_up_and_ships_with_its_policy_and_deletes_nothing(
    gates: tuple[PolicyGate, PolicyGate, str, str], tmp_path: Path
):
    gate, _, url, _ = gates
    main = PatientSite(tmp_path / "main", url, fencing="on", fencing_lease_seconds=60, backup_archive="on").open()
    LeaseRenewal(main.settings).renew()
    main.add_file("file-a", os.urandom(10 << 20))  # parts of their own, and an archive of several uploads

    main.back_up()
    main.add_file("file-b", b"after it")
    main.ship()
    second = main.back_up()
    verify_backup(main.catalog, main.store, second.name)
    LeaseRenewal(main.settings).renew()
    AuditChain(main.settings.data_path).append("drill", "of a test")
    AuditChain(main.settings.data_path).archive(main.target)

    assert gate.refused == []
    command = start_main(
        *("backup", "now", "--prune", "--without-speech"),
        DATA_PATH=str(main.settings.data_path),
        BACKUP_URL=url,
        BACKUP_KEEP_DAYS="0.0000001",
        BACKUP_KEEP_COUNT="1",
    )
    output, errors = command.communicate(timeout=300)
    assert command.returncode == 0, output + errors
    assert "Old backups stay" in output
    assert {action for action, _ in gate.refused} == {"s3:DeleteObject"}


def test_a_standby_follows_and_takes_over_with_its_policy_and_cannot_write_a_backup(
    gates: tuple[PolicyGate, PolicyGate, str, str], tmp_path: Path
):
    _, gate, of_main, of_standby = gates
    main = PatientSite(tmp_path / "main", of_main, fencing="on", fencing_lease_seconds=60).open()
    LeaseRenewal(main.settings).renew()
    main.add_file("file-a", b"first")
    main.back_up()
    standby = PatientSite(tmp_path / "standby", of_standby, fencing="on", fencing_lease_seconds=60)

    prefetch(standby.settings)
    standby.restore()
    Epochs.of(standby.settings).claim(2, SiteIdentity.of(standby.settings.data_path))
    LeaseRenewal(standby.settings).renew()
    chain = AuditChain(standby.settings.data_path)
    chain.append("switch", "of a test")
    chain.archive(standby.target)

    assert gate.refused == []
    assert standby.files() == {"file-a": b"first"}
    LeaseRenewal(main.settings).renew()
    with pytest.raises(NotPrimary):
        main.back_up()
    with pytest.raises(StorageUnavailable):
        standby.back_up()
    assert {action for action, _ in gate.refused} == {"s3:PutObject"}
