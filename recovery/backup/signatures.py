"""Who made a backup: each site signs with a key (Ed25519) of its own, and trusts the public keys of the others."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ValidationError

from common.program_name import program_name
from core.errors import PermanentError
from core.private_files import create_once
from core.settings import Settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE: Final = "backup-signing.key"
"""Name of the private key's file in the data folder."""


class BadBackup(PermanentError):
    """A backup that is incomplete, damaged or by somebody else."""

    code = "bad_backup"


class SignedDocument(BaseModel):
    """A document with its signature, as it lies in a target."""

    document: str
    public_key: str
    signature: str


class BackupSigner:
    """Signs for one site, and checks what any site signed."""

    def __init__(self, data_path: Path, trusted: Collection[str] = ()) -> None:
        """Use the key in the data folder; `trusted` are public keys of sites that are believed."""
        self._file = data_path / KEY_FILE
        self._trusted = frozenset(trusted)

    @classmethod
    def of(cls, settings: Settings) -> BackupSigner:
        """Return the signer of this site."""
        return cls(settings.data_path, settings.backup_public_keys)

    @property
    def public_key(self) -> str:
        """The public key of this site, which its standby names in BACKUP_PUBLIC_KEYS; the key is made at first use."""
        return _encoded(self._private_key().public_key().public_bytes_raw())

    @property
    def pins_keys(self) -> bool:
        """Whether only certain keys are believed."""
        return bool(self._trusted) or self._file.exists()

    def sign(self, document: str) -> bytes:
        """Return a document with its signature."""
        signature = _encoded(self._private_key().sign(document.encode()))
        signed = SignedDocument(document=document, public_key=self.public_key, signature=signature)
        return signed.model_dump_json().encode()

    def check(self, content: bytes, title: str) -> str:
        """Return the document of signed content.

        Without BACKUP_PUBLIC_KEYS and without a key of its own, a site believes any key; else only those.

        Raises:
            BadBackup: it is damaged, or signed by a key that is not believed.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            signed = SignedDocument.model_validate_json(content)
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(signed.public_key, validate=True))
            key.verify(base64.b64decode(signed.signature, validate=True), signed.document.encode())
        except (ValidationError, ValueError, binascii.Error, InvalidSignature):
            raise BadBackup(
                f"{title} is damaged: its signature does not fit.",
                hint=f"Take another backup ({program_name()} backup list).",
            ) from None
        if self._trusted and signed.public_key in self._trusted:
            return signed.document
        if self._file.exists() and signed.public_key == self.public_key:
            return signed.document
        if self.pins_keys:
            raise BadBackup(
                f"{title} is signed by the key {fingerprint(signed.public_key)}, which this site does not know.",
                hint=f"If it is your other site's, add BACKUP_PUBLIC_KEYS={signed.public_key}",
            )
        return signed.document

    def _private_key(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if not self._file.exists():
            create_once(self._file, _encoded(Ed25519PrivateKey.generate().private_bytes_raw()).encode() + b"\n")
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(self._file.read_text().strip()))


def fingerprint(secret: str | bytes) -> str:
    """Return what identifies a key without showing it: 16 hexadecimal digits."""
    content = secret.encode() if isinstance(secret, str) else secret
    return hashlib.sha256(b"sovitsd key fingerprint\0" + content).hexdigest()[:16]


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
