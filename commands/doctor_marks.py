"""What `main.py doctor` says of the marks in synthetic speech and of the consent of speakers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from core.errors import SovitsError
from core.marks.content_credentials import CERTIFICATE_FILE
from core.marks.speech_marks import KEY_FILE
from core.records import Records
from core.setting_groups.marks import NO_NOTICE
from core.settings import Settings

PAGE_SIZE: Final = 500


def describe_marks(settings: Settings) -> list[str]:
    """Return a line for each layer of marks."""
    key = "MARK_KEY" if settings.mark_key.get_secret_value() else str(settings.data_path / KEY_FILE)
    certificate = settings.mark_certificate or settings.data_path / CERTIFICATE_FILE
    future = "" if certificate.is_file() else ", made at first use"
    return [
        f"watermark: {f'on, its key is {key}' if settings.mark_watermark else 'off'}",
        f"metadata:  {f'on, signed by {certificate}{future}' if settings.mark_metadata else 'off'}",
        f"audible:   {settings.mark_audible}",
        f"consent:   {'required' if settings.require_consent else 'not required; REQUIRE_CONSENT=on demands it'}",
    ]


def missing_marks(settings: Settings) -> list[str]:
    """Return what is named in the settings and not there."""
    certificate = settings.mark_certificate
    if not settings.mark_metadata or certificate is None or certificate.is_file():
        return []
    return [f"the file {certificate}, which MARK_CERTIFICATE names: a private key and its chain in PEM"]


def marks_advice(settings: Settings, installed: Callable[[str], str]) -> list[str]:
    """Return what the law of many countries demands and the settings leave out, and voices without consent."""
    advice = []
    if not settings.mark_watermark:
        advice.append("MARK_WATERMARK=on: now nobody can find out which speech this server has made")
    if not settings.mark_metadata:
        advice.append("MARK_METADATA=on: now files do not say that their speech is synthetic")
    elif not installed("c2pa-python"):
        advice.append("c2pa-python: pip install c2pa-python (signed Content Credentials in files)")
    if not (settings.mark_watermark or settings.mark_metadata) and settings.mark_audible == NO_NOTICE:
        advice.append("some mark of synthetic speech, which many countries demand: docs/synthetic-speech.md")
    shares_database = not settings.resolved_database_url.startswith("sqlite")
    if settings.mark_watermark and shares_database and not settings.mark_key.get_secret_value():
        advice.append("MARK_KEY, the same on every host: now each host finds the marks of its own speech only")
    if shares_database or settings.database_file.exists():
        advice += _consent_advice(settings)
    return advice


def _consent_advice(settings: Settings) -> list[str]:
    try:
        without, ended = asyncio.run(_voices_without_consent(settings))
    except SovitsError:  # which the report says elsewhere
        return []
    advice = []
    if without:
        demanded = "it is demanded of new voices only" if settings.require_consent else "none is demanded"
        advice.append(f"the consent of the speakers of {without} voices: {demanded} (docs/synthetic-speech.md)")
    if ended:
        advice.append(f"new consents for {ended} voices, with which nobody can speak: theirs were withdrawn or expired")
    return advice


async def _voices_without_consent(settings: Settings) -> tuple[int, int]:
    """Return how many voices have no consent, and how many one that counts no more."""
    records = Records.from_settings(settings)
    without, ended, offset = 0, 0, 0
    try:
        while True:
            page = await records.voices.page(limit=PAGE_SIZE, offset=offset)
            without += sum(voice.consent_id is None for voice in page.items)
            ended += len(await records.consents.ended(voice.id for voice in page.items))
            offset += len(page.items)
            if not page.items or offset >= page.total:
                return without, ended
    finally:
        await records.close()
