"""Kinds of values that settings have: how they are read from the environment, and what is no such value."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from common.limits import MAX_LOUDNESS, MIN_LOUDNESS
from core.encryption import check_keys
from core.signing import key_of

BUCKETS: Final = ("s3://", "gs://", "az://")
_CLOCK_TIME: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_HOST_NAME: Final = re.compile(r"\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[?[0-9A-Fa-f:.]+\]?")
_ORIGIN: Final = re.compile(r"null|\*|[A-Za-z][A-Za-z0-9+.-]*://[^/\s?#@]+/?")
_ROOT_PATH: Final = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]{1,100}){1,10}")


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


def split_commas(value: str) -> tuple[str, ...]:
    """Return the parts between commas, without whitespace around them and without empty ones."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def is_root_path(path: str) -> bool:
    """Return whether a text is a path that a proxy can put before ours: `/voice`, `/a/b`."""
    return _ROOT_PATH.fullmatch(path) is not None and not {".", ".."} & set(path.split("/"))


def _read_list(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not value.strip().startswith("["):
        return split_commas(value)
    items = _parse_json(value)
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError('it is a JSON array of strings, ["one", "two"], or a list with commas')
    return tuple(item.strip() for item in items if item.strip())


def _read_aliases(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value.strip().startswith("{"):
        pairs = _parse_json(value)
        if not isinstance(pairs, dict) or not all(isinstance(name, str) for name in pairs.values()):
            raise ValueError('it is a JSON object of names, {"alloy": "anna"}')
    else:
        pairs = {}
        for part in split_commas(value):
            alias, separator, name = part.partition("=")
            if not separator or not alias.strip() or not name.strip():
                raise ValueError(f"{part!r} is no alias; aliases are like alloy=anna, echo=ben")
            pairs[alias] = name.strip()
    return {alias.strip().casefold(): name for alias, name in pairs.items()}


def _check_host_names(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not _HOST_NAME.fullmatch(value):
            raise ValueError(f"{value!r} is no host name; names have no scheme, port or path")
    return values


def _check_origins(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not _ORIGIN.fullmatch(value):
            raise ValueError(f"{value!r} is no origin; origins are like https://app.example:8443, null or *")
    return values


def _check_clock_time(value: str) -> str:
    if value and not _CLOCK_TIME.fullmatch(value):
        raise ValueError(f"{value!r} is no time of day; times are like 02:00")
    return value


def _check_networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        ipaddress.ip_network(value, strict=False)  # its ValueError says what is wrong
    return values


def _check_root_path(value: str) -> str:
    value = value.rstrip("/")
    if value and not is_root_path(value):
        raise ValueError("it is a path such as /voice, without a host, a query or dots for a folder")
    return value


def _without_brackets(value: str) -> str:
    return value.strip().removeprefix("[").removesuffix("]")


def _check_signing_secret(value: SecretStr) -> SecretStr:
    if value.get_secret_value():
        key_of(value.get_secret_value())
    return value


def _check_encryption_keys(value: SecretStr) -> SecretStr:
    check_keys(split_commas(value.get_secret_value()))
    return value


def _check_web_address(value: str) -> str:
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("it must begin with http:// or https://")
    return value.rstrip("/")


def _check_storage(value: str) -> str:
    if "://" in value and not value.startswith(("file:///", *BUCKETS)):
        raise ValueError("it is a folder, file:///…, or a bucket: s3://…, gs://…, az://…")
    return value


def _read_json_or_path(value: Any) -> Any:
    if isinstance(value, Path) or not isinstance(value, str):
        return value
    if value.strip()[:1] in ("[", "{"):
        _parse_json(value)
        return value.strip()
    return Path(value)


def _make_absolute(value: Any) -> Any:
    return value.expanduser().absolute() if isinstance(value, Path) else value


def _parse_json(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("it begins like JSON and cannot be read as such") from None


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_read_list)]
"""With commas, or a JSON array."""
HostNames = Annotated[CommaList, AfterValidator(_check_host_names)]
Origins = Annotated[CommaList, AfterValidator(_check_origins)]
Networks = Annotated[CommaList, AfterValidator(_check_networks)]
Aliases = Annotated[dict[str, str], NoDecode, BeforeValidator(_read_aliases)]
"""Alias in small letters → name: `alloy=anna, echo=ben`, or a JSON object."""
RootPath = Annotated[str, AfterValidator(_check_root_path)]
HostAddress = Annotated[str, AfterValidator(_without_brackets)]
"""A name or an address; one of IPv6 may have brackets."""
SigningSecret = Annotated[SecretStr, AfterValidator(_check_signing_secret)]
EncryptionKeys = Annotated[SecretStr, AfterValidator(_check_encryption_keys)]
WebAddress = Annotated[str, AfterValidator(_check_web_address)]
StorageAddress = Annotated[str, AfterValidator(_check_storage)]
"""A folder or a bucket."""
ClockTime = Annotated[str, AfterValidator(_check_clock_time)]
"""Empty, or a time of day as 02:00."""
OptionalLoudness = Annotated[
    Annotated[float, Field(ge=MIN_LOUDNESS, le=MAX_LOUDNESS)] | None, BeforeValidator(_none_if_empty)
]
"""LUFS; None where the setting is empty."""
JsonOrPath = Annotated[Path | str, BeforeValidator(_read_json_or_path), AfterValidator(_make_absolute)]
AbsolutePath = Annotated[Path, AfterValidator(_make_absolute)]
OptionalPath = Annotated[AbsolutePath | None, BeforeValidator(_none_if_empty)]
"""None where the setting is empty."""
OptionalInteger = Annotated[int | None, BeforeValidator(_none_if_empty)]
"""None where the setting is empty."""
