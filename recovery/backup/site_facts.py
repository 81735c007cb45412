"""What a manifest says of the site that made it: versions, hardware, settings without secrets, fingerprints of keys."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from common.operating_system import processor_name
from common.package_version import package_version
from core.encryption import KEY_FILE as SECRETS_KEY_FILE
from core.marks.content_credentials import CERTIFICATE_FILE
from core.marks.speech_marks import KEY_FILE as MARKS_KEY_FILE
from core.setting_values import split_commas
from core.settings import REPOSITORY, Settings
from recovery.backup.manifest import Environment
from recovery.backup.signatures import fingerprint

WEBHOOK_SECRETS: Final = "webhook secrets"
WATERMARK: Final = "watermark"
CERTIFICATE: Final = "content credentials"
WEBHOOK_SIGNATURE: Final = "webhook signature"
KEY_SETTINGS: Final = {
    WEBHOOK_SECRETS: f"SECRETS_KEY or {SECRETS_KEY_FILE}",
    WATERMARK: f"MARK_KEY or {MARKS_KEY_FILE}",
    CERTIFICATE: f"MARK_CERTIFICATE or {CERTIFICATE_FILE}",
    WEBHOOK_SIGNATURE: "WEBHOOK_SECRET",
}
"""Key → the setting or the file in the data folder that holds it."""
_SECRET_LISTS: Final = ("valid_api_keys", "admin_api_keys")
_SECRET_WORDS: Final = ("secret", "password", "_key")
_COMMAND_SECONDS: Final = 10.0


def describe_environment(schema_revision: str) -> Environment:
    """Return the versions of everything on this host that speech depends on."""
    driver = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").partition("\n")[0]
    packages = _installed_packages()
    return Environment(
        code=code_version(),
        schema_revision=schema_revision,
        python=platform.python_version(),
        packages=packages,
        cuda=next((item for name, item in packages.items() if name.startswith("nvidia-cuda-runtime")), ""),
        driver=driver,
        hardware=processor(),
    )


@cache
def _installed_packages() -> dict[str, str]:
    packages = {item.metadata["Name"]: item.version for item in distributions() if item.metadata["Name"]}
    return dict(sorted(packages.items()))


def code_version() -> str:
    """Return the version tag of a checkout, as `git describe --tags`; else the version of the package."""
    return _output("git", "-C", str(REPOSITORY), "describe", "--tags", "--always", "--dirty") or package_version()


def processor() -> str:
    """Return the model of the processor."""
    return f"{platform.machine()} {processor_name()}".strip()


def public_settings(settings: Settings) -> tuple[dict[str, str], list[str]]:
    """Return the settings that were set, and the names of those that are secret and thus left out."""
    shown: dict[str, str] = {}
    secret: list[str] = []
    for name in sorted(settings.model_fields_set):
        value, capitals = getattr(settings, name), name.upper()
        if value in (None, "", ()):
            continue
        is_secret = isinstance(value, SecretStr) or name in _SECRET_LISTS
        if is_secret or any(word in name for word in _SECRET_WORDS):
            if not isinstance(value, SecretStr) or value.get_secret_value():
                secret.append(capitals)
        elif isinstance(value, str) and "://" in value:
            shown[capitals] = _without_credentials(value)
        else:
            shown[capitals] = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return shown, secret


def key_fingerprints(settings: Settings) -> dict[str, str]:
    """Return the keys that this site has, by name, each with its fingerprint."""
    return {name: fingerprint(content) for name, content in _keys(settings) if content}


def _keys(settings: Settings) -> Iterator[tuple[str, bytes]]:
    configured = split_commas(settings.secrets_key.get_secret_value())
    yield WEBHOOK_SECRETS, configured[0].encode() if configured else _read(settings.data_path / SECRETS_KEY_FILE)
    mark_key = settings.mark_key.get_secret_value()
    yield WATERMARK, mark_key.encode() if mark_key else _read(settings.data_path / MARKS_KEY_FILE)
    yield CERTIFICATE, _read(settings.mark_certificate or settings.data_path / CERTIFICATE_FILE)
    yield WEBHOOK_SIGNATURE, settings.webhook_secret.get_secret_value().encode()


def _read(path: Path) -> bytes:
    return path.read_bytes().strip() if path.is_file() else b""


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host, query="", fragment=""))


def _output(*command: str) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
