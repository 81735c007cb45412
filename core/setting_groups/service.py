"""Settings of the service as a whole: where it listens, how it is called, what it logs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings

from common.limits import MAX_API_WORKERS
from common.programs import is_frozen
from common.repository import default_data_path
from core.setting_values import AbsolutePath, CommaList, HostAddress, RootPath, WebAddress


class ServiceSettings(BaseSettings):
    """Addresses, name, traces and logs."""

    host: HostAddress = "127.0.0.1"
    """Address that the API listens on."""
    port: int = Field(9880, ge=0, le=65535, validation_alias=AliasChoices("API_PORT", "PORT"))
    """Port of the API; 0 takes a free one. API_PORT, as desktop shells set it, wins over PORT."""
    api_workers: int = Field(1, ge=1, le=MAX_API_WORKERS)
    """Processes of the API behind the one port; `main.py serve --api-workers` wins. One answers thousands of requests a
    second; speech and trainings have processes of their own."""
    config_file: str = ""
    """YAML file in the form of the training service (docs/deployment.md); empty: `config.yaml`, else
    `config/config.yaml`."""
    deployment_mode: Literal["", "local", "server"] = ""
    """`local`: SQLite, folders and the embedded queue, whatever outside services the settings name; `server`: a
    database, a Redis and a bucket are required; empty: whatever the settings name."""
    exit_with_parent: bool = Field(default_factory=is_frozen)
    """Whether the server ends when its standard input closes or its parent process is gone; by default as a bundle."""
    project_name: str = ""
    """Title of the documentation at /docs."""
    api_v1_prefix: str = "/api/v1"
    """Fixed; another value is told at the start."""
    data_path: AbsolutePath = Field(default_factory=default_data_path)
    """Everything that is written lies under this folder; by default `data` in the checkout, or, of an installed
    package, `~/.local/share/sovitsd`."""
    max_connections: int = Field(2000, ge=4)
    """Connections that the API has open at once, event streams included; more get 503. Open files may limit it."""
    wyoming_port: int = Field(0, ge=0, le=65535)
    """Port of the Wyoming protocol, by which Home Assistant speaks (usually 10200); 0: none."""
    wyoming_host: str = "127.0.0.1"
    """Address that Wyoming is served at. The protocol has no keys: let only hosts that may speak reach it."""
    root_path: RootPath = ""
    """Path below which a reverse proxy offers the API, such as `/voice`, whether or not it removes it from requests."""

    app_name: str = Field("sovitsd", min_length=1, max_length=100)
    """Name of the service in GET /api/v1/info."""
    environment: Literal["development", "production"] = "production"
    """Shown in GET /api/v1/info."""
    supported_models: CommaList = ()
    """Names of models in GET /api/v1/info, separated by commas; empty: the versions."""

    otel_exporter_otlp_endpoint: WebAddress = ""
    """Where OpenTelemetry's traces go, by HTTP, such as `http://collector:4318`; empty: nowhere. Needs `[tracing]`."""
    otel_service_name: str = "sovitsd"
    """What traces call the service; the kind of the process follows it."""
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("deployment_mode", mode="before")
    @classmethod
    def _lower_case(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value
