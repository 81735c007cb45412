"""A backup as one tar.gz: its manifest and its objects, which is a target of its own once it is unpacked."""

from __future__ import annotations

import io
import re
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from common.files import sha256_of_file
from recovery.backup.manifest import BackupManifest, FileEntry
from recovery.backup.names import manifest_key, object_key
from recovery.backup.objects import ObjectStore
from recovery.backup.signatures import BadBackup

_MEMBER: Final = re.compile(r"objects/[0-9a-f]{2}/[0-9a-f]{64}|manifests/gpt-sovits-backup-\d{8}-\d{6}\.tar\.gz\.json")
_MAX_MEMBER_BYTES: Final = 512 << 20


def write_archive(
    manifest: BackupManifest, content: bytes, files: list[FileEntry], store: ObjectStore, scratch: Path
) -> tuple[str, int]:
    """Write the archive of a backup beside its manifest, `content`; return its SHA-256 and size."""
    items = {manifest.files.sha256: manifest.files}
    for table in manifest.tables.values():
        items |= {item.sha256: item for item in table.objects}
    for file in files:
        items |= {item.sha256: item for item in file.parts}
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / manifest.name
        with tarfile.open(path, "w:gz", compresslevel=1) as archive:
            _add(archive, manifest_key(manifest.name), content)
            for item in items.values():
                _add(archive, object_key(item.sha256), store.get(item))
        sha256, size = sha256_of_file(path), path.stat().st_size
        store.target.upload(path, manifest.name)
    return sha256, size


def unpack_archive(path: Path, folder: Path) -> str:
    """Unpack an archive into a folder, which is a target then; return the name of its backup.

    Only regular files with the names of objects and manifests are written, so nothing lands outside of the folder.

    Raises:
        BadBackup: it is damaged, or it is no archive of a backup.
    """
    name = ""
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if not member.isreg() or not _MEMBER.fullmatch(member.name) or member.size > _MAX_MEMBER_BYTES:
                    raise BadBackup(f"{path} is no archive of a backup: it has {member.name!r}.")
                source = archive.extractfile(member)
                assert source is not None, "it is a regular file"
                target = folder / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read())
                if member.name.startswith("manifests/"):
                    name = member.name.removeprefix("manifests/").removesuffix(".json")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadBackup(f"{path} cannot be unpacked: {error}.", hint="Copy it again, and compare its hash.") from None
    if not name:
        raise BadBackup(f"{path} is no archive of a backup: it has no manifest.")
    return name


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))
