"""Settings of the stores: the queue on Redis, the database of records, the storage of artefacts."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from core.setting_values import HostAddress, OptionalPath, StorageAddress


class StoreSettings(BaseSettings):
    """Redis, SQL and storage."""

    redis_url: str = ""
    """`redis://` or `rediss://`, with sentinels `redis+sentinel://HOST:26379,HOST:26379/NAME/0`, of a cluster
    `redis+cluster://HOST:6379,HOST:6379`; empty starts an embedded server under the data folder."""
    redis_ca_file: str = ""
    """PEM file with the authority that signed the certificate of a `rediss://` server; empty: those of the system."""
    redis_cert_file: str = ""
    """PEM file with this host's own certificate, when the Redis server asks for one."""
    redis_key_file: str = ""
    """PEM file with the key of REDIS_CERT_FILE."""
    redis_host: HostAddress = ""
    """Used with REDIS_PORT and REDIS_DB when there is no REDIS_URL."""
    redis_port: int = Field(6379, ge=1, le=65535)
    redis_db: int = Field(0, ge=0)
    redis_prefix: str = Field("sovits:", min_length=1)
    """Every key starts with it."""
    redis_memory_mb: int = Field(0, ge=0)
    """MiB of memory of the embedded server; above 90 % of it new requests get 503. 0: a quarter of the host's."""
    database_url: str = ""
    """SQLAlchemy URL; empty means SQLite under the data folder."""
    sqlite_path: OptionalPath = None
    """The file of the records where there is no DATABASE_URL; by default in the data folder."""
    celery_broker_url: str = ""
    """Used where there is no REDIS_URL: the queue is Redis itself."""
    celery_result_backend: str = ""
    """Accepted, as other servers need it; results are in the same Redis."""
    storage_url: StorageAddress = ""
    """Where artefacts lie: a folder (`file:///…`) or a bucket (`s3://…`); empty means the data folder."""
    local_storage_path: OptionalPath = None
    """The folder of artefacts where no bucket is named; by default in the data folder."""
    s3_endpoint: str = ""
    """`host:port` (http) or a URL of an S3 service that has the artefacts, unless STORAGE_URL names something."""
    s3_access_key: str = "minioadmin"
    """Access key of S3_ENDPOINT."""
    s3_secret_key: SecretStr = SecretStr("minioadmin")
    """Secret key of S3_ENDPOINT."""
    s3_bucket: str = "gpt-sovits"
    """Bucket at S3_ENDPOINT; it is made if it is missing."""
    storage_cache_mb: int = Field(20_480, ge=1)
    """MiB of copies from a bucket that this host keeps; what a stage works on may come on top."""
