"""Records of what workers spoke into files."""

from __future__ import annotations

import logging

from core.errors import SovitsError
from core.records import NewProvenance
from roles.runtime.services import WorkerServices

logger = logging.getLogger(__name__)


def record_speech(services: WorkerServices, speech: NewProvenance) -> None:
    """Record a speech, unless PROVENANCE_DAYS says that none is; a database that is away stops no work."""
    settings = services.settings
    if not settings.provenance_days:
        return
    try:
        services.call(services.records.provenance.add, [speech], keep_text=settings.provenance_text == "text")
    except SovitsError as error:
        logger.warning("The speech %s is not recorded: %s", speech.request_id, error.message)
