"""`main.py doctor --bundle FILE`: an archive for a bug report, from which secrets and names of people are removed."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from commands.doctor_report import DoctorReport
from commands.server import api_url
from core.errors import InvalidRequest
from core.settings import Settings

HIDDEN: Final = "(hidden)"
SECRET_NAMES: Final = re.compile(r"KEY|SECRET|PASSWORD|TOKEN|URL|CREDENTIAL|STATEMENT")
"""Settings whose values are left out altogether."""
SECRETS: Final = (
    re.compile(r"\b(sk|st|whsec|key)[-_][A-Za-z0-9_\-+/=]{12,}"),
    re.compile(r"(?i)(?<=bearer )[^\s\"']+"),
    re.compile(r"(?<=://)[^\s/@]+(?=@)"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_.-]+"),
    re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]+\b"),
    re.compile(r"\b(?!127\.)(?:\d{1,3}\.){3}\d{1,3}\b"),
)
"""Keys, tokens, passwords in addresses, mail addresses, and addresses of machines."""
LOG_BYTES: Final = 2 << 20
"""Of the end of a log."""
API_PATHS: Final = ("/readyz", "/metrics", "/api/v1/info")
API_SECONDS: Final = 5


def write_bundle(target: Path, report: DoctorReport, settings: Settings) -> list[str]:
    """Write the archive, which only its owner can read, and return the names in it.

    Raises InvalidRequest when it cannot be written.
    """
    scrub = Scrubber(settings)
    names = []
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with (
            os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
            tarfile.open(fileobj=file, mode="w:gz") as archive,
        ):
            for name, text in _contents(report, settings):
                content = scrub(text).encode()
                entry = tarfile.TarInfo(f"sovitsd-report/{name}")
                entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o600
                archive.addfile(entry, io.BytesIO(content))
                names.append(name)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InvalidRequest(f"The archive cannot be written to {target}: {error.strerror}.") from None
    return names


class Scrubber:
    """Replaces what identifies callers and machines."""

    def __init__(self, settings: Settings) -> None:
        values = set(_secret_values(settings))
        self._values = sorted((value for value in values if len(value) >= 4), key=len, reverse=True)
        self._home = str(Path.home())

    def __call__(self, text: str) -> str:
        """Return a text without secrets; the home folder becomes `~`."""
        for value in self._values:
            text = text.replace(value, HIDDEN)
        for pattern in SECRETS:
            text = pattern.sub(HIDDEN, text)
        return text.replace(self._home, "~") if self._home not in ("/", "") else text


def _secret_values(settings: Settings) -> Iterator[str]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            yield from (part.strip() for part in value.get_secret_value().split(","))
        elif SECRET_NAMES.search(name.upper()):
            yield from (str(part) for part in (value if isinstance(value, tuple) else (value,)) if part)


def _contents(report: DoctorReport, settings: Settings) -> Iterator[tuple[str, str]]:
    yield "doctor.txt", report.text() + "\n"
    yield "settings.txt", "".join(f"{name.upper()}={_shown(settings, name)}\n" for name in type(settings).model_fields)
    packages = sorted(f"{item.metadata['Name']}=={item.version}" for item in distributions())
    yield "packages.txt", "\n".join(packages) + "\n"
    for log in _logs(settings):
        yield f"logs/{log.name}", _end_of(log)
    for path in API_PATHS:
        if (text := _ask(api_url(settings) + path)) is not None:
            yield f"api{path.replace('/', '-')}.txt", text


def _shown(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    if SECRET_NAMES.search(name.upper()) or isinstance(value, SecretStr):
        return HIDDEN if value and not (isinstance(value, SecretStr) and not value.get_secret_value()) else ""
    return str(value)


def _logs(settings: Settings) -> list[Path]:
    return [path for path in (Path("logs/service.log"), settings.data_path / "daemon.log") if path.is_file()]


def _end_of(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_BYTES))
        return file.read().decode(errors="replace")


def _ask(url: str) -> str | None:
    """Return what the running API answers; None when it does not."""
    try:
        with urllib.request.urlopen(url, timeout=API_SECONDS) as response:  # noqa: S310  # our own address
            return str(response.read().decode(errors="replace"))
    except urllib.error.HTTPError as error:
        return json.dumps({"status": error.code, "body": error.read().decode(errors="replace")})
    except (urllib.error.URLError, OSError):
        return None
