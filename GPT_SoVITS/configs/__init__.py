"""The recipes: one HyperPyYAML file per version, read only from this folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from hyperpyyaml import load_hyperpyyaml

from GPT_SoVITS.errors import ModelError

FOLDER = Path(__file__).parent
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")

Recipe: TypeAlias = dict[str, Any]
"""A version's settings as plain nested dicts, as they are stored with its weights; `sections.read_section` gives a
section its type."""


def config_names() -> tuple[str, ...]:
    """Return the names of the recipes in the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load_config(name: str) -> Recipe:
    """Read a recipe as plain nested dicts, which the caller may change.

    A HyperPyYAML file can construct any object, so only names of package files are accepted, never a path. A file with
    a `base:` holds only its differences from that other recipe.

    Raises:
        ModelError: "unknown_version": there is no recipe of this name.
    """
    if not _NAME.fullmatch(name) or not (FOLDER / f"{name}.yaml").is_file():
        names = ", ".join(config_names())
        raise ModelError("unknown_version", f"There is no recipe named {name!r}.", hint=f"The recipes are: {names}.")
    recipe: Recipe = load_hyperpyyaml(_text(name))
    base = recipe.pop("base", None)
    return recipe if base is None else merge_config(load_config(base), recipe)


def merge_config(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Recipe:
    """Return `base` with `changes` applied, mapping by mapping; lists are replaced whole."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merge_config(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


@cache
def _text(name: str) -> str:
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
