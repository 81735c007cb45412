"""Settings of who may do what: API keys, origins, proxies, sizes, and what the service fetches and sends."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from core.setting_values import CommaList, EncryptionKeys, HostNames, Networks, Origins, SigningSecret


class AccessSettings(BaseSettings):
    """API keys, hosts and secrets."""

    valid_api_keys: CommaList = ()
    """API keys separated by commas; with none here and none made by `main.py keys`, no key is asked for."""
    admin_api_keys: CommaList = ()
    """API keys separated by commas that may do everything, also with what belongs to other keys."""
    allow_open_access: bool = False
    """Whether the API may be reached from other machines although no key exists; a warning at every start says so."""
    allowed_hosts: HostNames = ()
    """Host names that the API answers to beside localhost, IP addresses and HOST, separated by commas; `*.name` for all
    names below one, `*` for any. Once it is set, it counts with API keys as well."""
    cors_origins: Origins = ()
    """Origins beside this host's whose pages may use the API, such as `https://app.example`; `null` for pages that were
    opened as a file, `*` for any."""
    trusted_proxies: Networks = ()
    """Addresses or networks of reverse proxies whose `X-Forwarded-…` headers are believed."""
    max_upload_mb: int = Field(500, ge=1)
    """Largest upload, MiB."""
    max_text_characters: int = Field(100_000, ge=1)
    """Longest text of one speech request."""
    fetch_allowed_hosts: CommaList = ()
    """Hosts that `voice_url` may name although they are private addresses, separated by commas."""
    webhook_secret: SigningSecret = SecretStr("")
    """Signs what is sent to the `webhook_url` of a request: `whsec_` and 24 to 64 bytes in base64."""
    secrets_key: EncryptionKeys = SecretStr("")
    """Encrypts the secrets of webhooks in the database; empty: a key in `secrets.key` under the data folder.

    With PostgreSQL, which hosts may share, that file is used but not created.
    """
    webhook_allowed_hosts: CommaList = ()
    """Hosts that webhooks may name although they have private addresses, separated by commas."""
