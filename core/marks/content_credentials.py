"""Content Credentials (C2PA 2.x): a signed manifest in a finished file, which says that its audio is synthetic.

The manifest covers every byte of the file but its own, so that whoever changes the audio breaks the signature.
"""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from common.package_version import package_version
from core.marks.certificates import new_certificate
from core.marks.speech_label import SpeechLabel
from core.private_files import create_once

if TYPE_CHECKING:
    import c2pa

logger = logging.getLogger(__name__)

CERTIFICATE_FILE: Final = "content-credentials.pem"
"""Name of the file in the data folder with the private key and its certificates."""
CREDENTIAL_TYPES: Final[Mapping[str, str]] = {"wav": "audio/wav", "mp3": "audio/mpeg", "flac": "audio/flac"}
"""Format → media type of the formats of ours that a manifest fits into. Ogg and ADTS have no place for one."""
SYNTHETIC_SOURCE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
LABEL_ASSERTION: Final = "sovitsd.aigc"
_LOADING: Final = threading.Lock()


class ContentCredentials:
    """Signs files with the key of this installation. Loading the library takes 10 MB and a quarter of a second."""

    def __init__(self, data_path: Path, certificate_file: Path | None, producer: str) -> None:
        """`certificate_file`: PEM with a private key and its chain of certificates; None: made at first use."""
        self._data_path = data_path
        self._certificate_file = certificate_file
        self._producer = producer

    def sign(self, content: bytes, audio_format: str, label: SpeechLabel) -> bytes:
        """Return a complete file with its manifest; as it is where its format has no place for one."""
        signed = io.BytesIO()
        return signed.getvalue() if self._sign(io.BytesIO(content), signed, audio_format, label) else content

    def sign_file(self, path: Path, audio_format: str, label: SpeechLabel) -> None:
        """Sign a complete file in place; nothing where its format has no place for a manifest."""
        temporary = path.with_name(f"{path.name}.signed")
        try:
            with path.open("rb") as source, temporary.open("w+b") as destination:
                signed = self._sign(source, destination, audio_format, label)
            if signed:
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    @property
    def certificates(self) -> bytes:
        """The chain of certificates in PEM, the signer's first; empty before anything was signed."""
        path = self._certificate_file or self._data_path / CERTIFICATE_FILE
        return self._split[1] if path.exists() else b""

    def _sign(self, source: BinaryIO, destination: BinaryIO, audio_format: str, label: SpeechLabel) -> bool:
        """Write a signed file and return True; False where that is not possible: the speech is worth more."""
        if audio_format not in CREDENTIAL_TYPES or not is_available():
            return False
        import c2pa

        try:
            with (
                c2pa.Signer.from_info(self._signer_info) as signer,
                c2pa.Builder(self._manifest(label, audio_format), context=self._context) as builder,
            ):
                builder.sign(signer, CREDENTIAL_TYPES[audio_format], source, destination)
        except (c2pa.C2paError, OSError, ValueError) as error:
            logger.warning("The speech %s has no Content Credentials: %s", label.ProduceID, error)
            return False
        return True

    def _manifest(self, label: SpeechLabel, audio_format: str) -> dict[str, Any]:
        created: dict[str, Any] = {
            "action": "c2pa.created",
            "digitalSourceType": SYNTHETIC_SOURCE,
            "softwareAgent": {"name": self._producer, "version": package_version()},
        }
        if label.time is not None:
            created["when"] = label.time.isoformat().replace("+00:00", "Z")
        return {
            "claim_generator_info": [{"name": self._producer, "version": package_version()}],
            "title": f"{label.ProduceID}.{audio_format}",
            "assertions": [
                {"label": "c2pa.actions", "data": {"actions": [created]}},
                {"label": LABEL_ASSERTION, "data": label.fields},
            ],
        }

    @cached_property
    def _signer_info(self) -> c2pa.C2paSignerInfo:
        import c2pa

        key, chain = self._split
        return c2pa.C2paSignerInfo(alg=b"es256", sign_cert=chain, private_key=key, ta_url=None)

    @cached_property
    def _context(self) -> c2pa.Context:
        """What was just signed need not be read again."""
        import c2pa

        return c2pa.Context.from_dict({"verify": {"verify_after_sign": False}})

    @cached_property
    def _split(self) -> tuple[bytes, bytes]:
        """The private key and the chain of certificates, both in PEM."""
        path = self._certificate_file or self._data_path / CERTIFICATE_FILE
        with _LOADING:
            if self._certificate_file is None and not path.exists():
                create_once(path, new_certificate(self._producer, time.time()))
            content = path.read_bytes()
        start = content.index(b"-----BEGIN CERTIFICATE")
        return content[:start], content[start:]


def is_available() -> bool:
    """Return whether the library is installed, which some platforms lack."""
    return find_spec("c2pa") is not None


def read_credentials(path: Path, anchors: str) -> dict[str, Any] | None:
    """Return what a file's manifest says, as the library's reader tells it; None where it has none.

    `anchors`: trusted certificates in PEM; the state is `Trusted` of what they signed, else `Valid` or `Invalid`.
    Run it in a limited process: the file may be anybody's.
    """
    media_type = _media_type(path)
    if not media_type or not is_available():
        return None
    import c2pa

    trust = {"trust": {"trust_anchors": anchors}} if anchors else {}
    # Whoever asks need not be able to reach other servers.
    verify = {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False}
    try:
        with (
            c2pa.Context.from_dict({"verify": verify, **trust}) as context,
            path.open("rb") as file,
            c2pa.Reader(media_type, file, context=context) as reader,
        ):
            report: dict[str, Any] = json.loads(reader.detailed_json())
            return report | {"validation_state": reader.get_validation_state()}
    except c2pa.C2paError.ManifestNotFound:
        return None
    except c2pa.C2paError as error:  # a manifest that cannot even be read
        return {"validation_results": {"activeManifest": {"failure": [{"code": str(error)}]}}}


def _media_type(path: Path) -> str:
    """Return the media type of a file that may have a manifest, by its first bytes; empty for another file."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:3] == b"ID3":
            file.seek(10 + sum(byte << 7 * (3 - place) for place, byte in enumerate(head[6:10])))
            return CREDENTIAL_TYPES["flac" if file.read(4) == b"fLaC" else "mp3"]
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        return CREDENTIAL_TYPES["wav"]
    if head[:4] == b"fLaC":
        return CREDENTIAL_TYPES["flac"]
    if head[:1] == b"\xff" and head[1:2] >= b"\xe0":
        return CREDENTIAL_TYPES["mp3"]
    return "audio/mp4" if head[4:8] == b"ftyp" else ""
