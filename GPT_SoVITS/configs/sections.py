"""Sections of recipes as frozen dataclasses: the entries, their types and their ranges, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from GPT_SoVITS.errors import ModelError

Section = TypeVar("Section")


def read_section(kind: type[Section], values: Mapping[str, Any], *, extra: bool = False) -> Section:
    """Build a config dataclass from a section of a recipe.

    Args:
        kind: a dataclass whose fields are bool, int, float, str, tuples of these, another such dataclass, or one of
            these or None. Fields with a default may be missing.
        values: the section; lists become tuples.
        extra: whether the section may hold entries that the dataclass does not have.

    Raises:
        ModelError: "bad_config": an entry is missing, unknown, or of another type.
    """
    if not isinstance(values, Mapping):
        raise ModelError("bad_config", f"The settings of {kind.__name__} are {values!r}; a mapping is needed.")
    hints = get_type_hints(kind)
    entries = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]  # a dataclass, as documented
    unknown = values.keys() - entries.keys()
    if unknown and not extra:
        raise ModelError("bad_config", f"{kind.__name__} has no setting {sorted(map(str, unknown))[0]!r}.")
    arguments = {}
    for name, entry in entries.items():
        if name in values:
            arguments[name] = _convert(f"{kind.__name__}.{name}", hints[name], values[name])
        elif entry.default is MISSING and entry.default_factory is MISSING:
            raise ModelError("bad_config", f"The setting {kind.__name__}.{name} is missing.")
    return kind(**arguments)


def check_positive(config: object, *names: str) -> None:
    """Raise ModelError("bad_config") unless each of these settings is above zero."""
    for name in names:
        if not getattr(config, name) > 0:
            raise ModelError(
                "bad_config", f"{type(config).__name__}.{name} is {getattr(config, name)}; it must be above 0."
            )


def _convert(name: str, hint: Any, value: Any) -> Any:
    """Check a value against its field's type and convert lists to tuples and whole numbers to floats."""
    if get_origin(hint) is UnionType:
        if value is None and NoneType in get_args(hint):
            return None
        (hint,) = (option for option in get_args(hint) if option is not NoneType)
    if is_dataclass(hint) and isinstance(hint, type):
        return read_section(hint, value)
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise ModelError("bad_config", f"{name} is {value!r}; a list is needed.")
        items = get_args(hint)
        item_hints = [items[0]] * len(value) if len(items) == 2 and items[1] is Ellipsis else items
        if len(item_hints) != len(value):
            raise ModelError("bad_config", f"{name} has {len(value)} entries; {len(item_hints)} are needed.")
        return tuple(_convert(name, item_hint, item) for item_hint, item in zip(item_hints, value))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and number:
        return float(value)
    if not isinstance(value, hint) or (hint is int and not number):
        raise ModelError("bad_config", f"{name} is {value!r}; it must be of type {hint.__name__}.")
    return value
