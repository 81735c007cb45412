"""The backups of a target: which there are, and what each consists of."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from pydantic import ValidationError

from common.program_name import program_name
from core.errors import NotFound
from recovery.backup.manifest import FILE_LIST, BackupManifest, FileEntry, ObjectRef
from recovery.backup.names import LATEST, MANIFESTS, check_backup_name, manifest_key
from recovery.backup.objects import ObjectStore
from recovery.backup.signatures import BackupSigner, BadBackup
from recovery.backup.target import BackupTarget

COMPARED_BACKUPS: Final = 5
"""Newest ones of which the latest is that of the newest epoch: a site that was replaced may have made one after it."""


class BackupCatalog:
    """Reads the manifests of a target and checks who signed them."""

    def __init__(self, target: BackupTarget, signer: BackupSigner) -> None:
        self.target = target
        self.signer = signer

    def names(self) -> list[str]:
        """Return the names of all backups, newest first."""
        names = (entry.key.removeprefix(f"{MANIFESTS}/").removesuffix(".json") for entry in self.target.list(MANIFESTS))
        return sorted(names, reverse=True)

    def resolve(self, name: str) -> str:
        """Return the name of a backup, `latest` for the newest good one.

        Raises:
            NotFound: there is none.
        """
        if name != LATEST:
            return check_backup_name(name)
        good: list[tuple[int, str]] = []
        for candidate in self.names():
            with suppress(BadBackup):
                good.append((self.read(candidate).epoch, candidate))
            if len(good) == COMPARED_BACKUPS:
                break
        if not good:
            raise NotFound(
                f"There is no good backup in {self.target.name}.",
                hint=f"Make one on the main site: {program_name()} backup now.",
            )
        return max(good)[1]

    def read(self, name: str) -> BackupManifest:
        """Return a backup's manifest.

        Raises:
            NotFound: there is none of that name.
            BadBackup: it is damaged, of a newer format, or signed by a key that is not believed.
        """
        return self.read_with_hash(name)[0]

    def read_with_hash(self, name: str) -> tuple[BackupManifest, str]:
        """Return a backup's manifest and the SHA-256 of it as it lies in the target; raises as `read`."""
        try:
            content = self.target.read(manifest_key(name))
        except FileNotFoundError:
            raise NotFound(
                f"There is no backup {name} in {self.target.name}.",
                hint=f"{program_name()} backup list shows those that exist.",
            ) from None
        return parse_manifest(self.signer.check(content, f"The manifest of {name}"), name), _sha256(content)

    def files(self, manifest: BackupManifest, store: ObjectStore) -> list[FileEntry]:
        """Return the files of a backup; raise BadBackup when their list is damaged."""
        try:
            return FILE_LIST.validate_json(store.get_packed(manifest.files))
        except (ValidationError, gzip.BadGzipFile) as error:
            raise BadBackup(f"The list of files of {manifest.name} cannot be used: {error}") from None

    def objects(self, manifest: BackupManifest, store: ObjectStore) -> Iterator[ObjectRef]:
        """Yield every object of a backup; raise BadBackup when the list of files is damaged."""
        yield manifest.files
        for table in manifest.tables.values():
            yield from table.objects
        for file in self.files(manifest, store):
            yield from file.parts


def parse_manifest(document: str, name: str) -> BackupManifest:
    """Return the manifest in a document whose signature was checked; raise BadBackup for one of another format."""
    try:
        manifest = BackupManifest.model_validate_json(document)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise BadBackup(
            f"The manifest of {name} cannot be used: {field}: {problem['msg']}.",
            hint="It may be of a newer version of sovitsd: update this site.",
        ) from None
    if manifest.name != name:
        raise BadBackup(f"The manifest of {name} is that of {manifest.name}: somebody renamed it.")
    return manifest


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
