"""What a start says about the settings: the mode and its parts, and what has no effect."""

from __future__ import annotations

from sqlalchemy.engine import make_url

from core.redis_address import parse_redis_url
from core.settings import Settings

FIXED_PREFIX = "/api/v1"


def start_line(settings: Settings) -> str:
    """Return the line that names the mode and what the server is made of, without any password."""
    mode = settings.deployment_mode or ("server" if _is_outside(settings) else "local")
    database = make_url(settings.resolved_database_url)
    records = f"SQLite {database.database}" if _is_file(settings) else f"PostgreSQL at {database.host}"
    redis = settings.resolved_redis_url
    queue = f"Redis at {parse_redis_url(redis)}" if redis else "the embedded queue"
    bucket = settings.resolved_storage_url.partition("?")[0]
    storage = bucket if settings.storage_is_bucket else f"files in {settings.storage_root}"
    return f"Starting in {mode.upper()} mode: {records}, {queue}, {storage}."


def ineffective_settings(settings: Settings) -> list[str]:
    """Return a sentence for each setting that has no effect."""
    sentences = []
    if settings.deployment_mode == "local":
        outside = {
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "REDIS_HOST": settings.redis_host,
            "CELERY_BROKER_URL": settings.celery_broker_url,
            "S3_ENDPOINT": settings.s3_endpoint,
        }
        if names := [name for name, value in outside.items() if value]:
            sentences.append(f"DEPLOYMENT_MODE=local uses no outside services; {', '.join(names)} have no effect.")
    if settings.api_v1_prefix.rstrip("/") != FIXED_PREFIX:
        sentences.append(
            f"API_V1_PREFIX is {settings.api_v1_prefix!r}; the paths begin with {FIXED_PREFIX} all the same."
        )
    return sentences


def _is_file(settings: Settings) -> bool:
    return settings.resolved_database_url.startswith("sqlite")


def _is_outside(settings: Settings) -> bool:
    return bool(settings.resolved_redis_url) and not _is_file(settings)
