"""Every setting, read once from the environment or `.env`; a bad value stops the start with a sentence."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from common.hosts import bracketed
from common.repository import REPOSITORY as REPOSITORY
from core.encryption import KEY_FILE, SecretBox
from core.errors import SovitsError
from core.redis_address import PREFIX, cluster_prefix, kind_of_url, with_options
from core.service_file import BadServiceFile, read_service_file
from core.setting_groups.access import AccessSettings
from core.setting_groups.backups import BackupSettings
from core.setting_groups.jobs import JobSettings
from core.setting_groups.marks import MarkSettings
from core.setting_groups.models import ModelSettings
from core.setting_groups.service import ServiceSettings
from core.setting_groups.standby import StandbySettings
from core.setting_groups.stores import StoreSettings
from core.setting_values import BUCKETS, split_commas


class BadSettings(SovitsError):
    """A setting with a value that cannot be used."""

    code = "bad_settings"


class Settings(
    ServiceSettings,
    StoreSettings,
    AccessSettings,
    MarkSettings,
    BackupSettings,
    StandbySettings,
    ModelSettings,
    JobSettings,
):
    """The environment's names are these in capitals; `env.example` lists them with a sentence each."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read YAML files behind the environment and `.env`: that of the mode in `config/`, the training service's."""
        near = {**dotenv_settings(), **env_settings(), **init_settings()}
        mode = near.get("deployment_mode") or "local"
        file = Path("config") / f"{str(mode).strip().lower()}.yaml"
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings, dotenv_settings)
        if file.is_file():
            sources = (*sources, YamlConfigSettingsSource(settings_cls, file))
        if values := read_service_file(str(near.get("config_file") or "")):
            sources = (*sources, InitSettingsSource(settings_cls, values))
        return sources

    @property
    def secret_box(self) -> SecretBox:
        """What encrypts and decrypts the secrets in the database."""
        # Hosts that share a database would lock each other out with keys of their own.
        only_this_host = self.resolved_database_url.startswith("sqlite")
        keys = split_commas(self.secrets_key.get_secret_value())
        return SecretBox(self.data_path / KEY_FILE, keys, may_create=only_this_host)

    @property
    def resolved_redis_url(self) -> str:
        """The URL to connect to, or empty for the embedded server."""
        if self.deployment_mode == "local":
            return ""
        if self.redis_url:
            files = {
                "ssl_ca_certs": self.redis_ca_file,
                "ssl_certfile": self.redis_cert_file,
                "ssl_keyfile": self.redis_key_file,
            }
            options = {name: path for name, path in files.items() if path and self.redis_url.startswith("rediss")}
            if kind_of_url(self.redis_url) == "cluster":
                options[PREFIX] = self.key_prefix
            return with_options(self.redis_url, options) if options else self.redis_url
        if self.redis_host:
            return f"redis://{bracketed(self.redis_host)}:{self.redis_port}/{self.redis_db}"
        return self.celery_broker_url

    @property
    def key_prefix(self) -> str:
        """What every key of Redis begins with; in a cluster with a hash tag, which keeps all keys on one node."""
        return cluster_prefix(self.redis_prefix) if kind_of_url(self.redis_url) == "cluster" else self.redis_prefix

    @property
    def resolved_database_url(self) -> str:
        """The URL of the records' database."""
        outside = self.database_url if self.deployment_mode != "local" else ""
        return outside or f"sqlite+aiosqlite:///{self.database_file}"

    @property
    def database_file(self) -> Path:
        """The SQLite file of the records; used when no database is named."""
        return self.sqlite_path or self.data_path / "sovitsd.sqlite3"

    @property
    def models_folder(self) -> Path:
        """The folder of downloaded weights."""
        return self.models_path or self.data_path / "models"

    @property
    def resolved_storage_url(self) -> str:
        """The folder or the bucket of artefacts; empty for the data folder."""
        if self.deployment_mode == "local" and self.storage_url.startswith(BUCKETS):
            return ""
        if self.storage_url or self.deployment_mode == "local" or not self.s3_endpoint:
            return self.storage_url
        endpoint = self.s3_endpoint if "://" in self.s3_endpoint else f"http://{self.s3_endpoint}"
        options = {
            "endpoint": endpoint.rstrip("/"),
            "region": "us-east-1",
            "access_key_id": self.s3_access_key,
            "secret_access_key": self.s3_secret_key.get_secret_value(),
        }
        return f"s3://{self.s3_bucket}?{urlencode(options)}"

    @property
    def makes_bucket(self) -> bool:
        """Whether a missing bucket is made: one of S3_ENDPOINT is, one of STORAGE_URL is not."""
        return not self.storage_url and self.storage_is_bucket

    @property
    def storage_root(self) -> Path:
        """The folder of artefacts; with a bucket, of this host's copies."""
        url = self.resolved_storage_url
        if url and not self.storage_is_bucket:
            return Path(url.removeprefix("file://"))
        default = self.data_path / "storage"
        return default if self.storage_is_bucket else self.local_storage_path or default

    @property
    def storage_is_bucket(self) -> bool:
        """Whether the artefacts lie in a bucket."""
        return self.resolved_storage_url.startswith(BUCKETS)


def read_settings(**overrides: Any) -> Settings:
    """Read the environment; `overrides` (by field name) win. Raises BadSettings naming what is wrong."""
    try:
        by_alias = {("API_PORT" if name == "port" else name): value for name, value in overrides.items()}
        current = Settings(**by_alias)
    except ValidationError as error:
        raise BadSettings(_explain(error)) from None
    except BadServiceFile as error:
        raise BadSettings(error.sentences) from None
    if current.deployment_mode == "server":
        services = {
            "DATABASE_URL": current.database_url,
            "REDIS_URL": current.resolved_redis_url,
            "S3_ENDPOINT": current.storage_is_bucket,
        }
        if missing := [name for name, value in services.items() if not value]:
            raise BadSettings(
                f"Settings that cannot be used: DEPLOYMENT_MODE=server needs {', '.join(missing)}. "
                "Set what is missing, or DEPLOYMENT_MODE=local for SQLite, folders and the embedded queue."
            )
    return current


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process, read on first use."""
    return read_settings()


def _explain(error: ValidationError) -> str:
    sentences = []
    for problem in error.errors():
        name = str(problem["loc"][0]).upper() if problem["loc"] else "?"
        value = problem["input"]
        may_be_secret = any(word in name for word in ("KEY", "URL", "SECRET")) or "@" in str(value)
        shown = "(hidden)" if may_be_secret else repr(value) if len(str(value)) <= 80 else f"{str(value)[:80]!r}…"
        sentences.append(f"{name} is {shown}: {problem['msg']}.")
    return "Settings that cannot be used: " + " ".join(sentences)
