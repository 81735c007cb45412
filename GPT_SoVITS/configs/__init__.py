"""The recipes: one HyperPyYAML file per version, read only from this folder."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from hyperpyyaml import load_hyperpyyaml

from GPT_SoVITS.errors import ModelError

FOLDER = Path(__file__).parent
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")


def config_names() -> tuple[str, ...]:
    """Every recipe that the package holds."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load_config(name: str) -> dict[str, Any]:
    """A recipe as plain nested dicts, the caller's own to change.

    A HyperPyYAML file can construct any object, so only names of package files are taken, never a path. A file with
    a `base:` says only where it differs from that other recipe. Raises ModelError("unknown_version").
    """
    if not _NAME.fullmatch(name) or not (FOLDER / f"{name}.yaml").is_file():
        known = ", ".join(config_names())
        raise ModelError("unknown_version", f"There is no recipe named {name!r}.", hint=f"The recipes are: {known}.")
    recipe = load_hyperpyyaml(_text(name))
    base = recipe.pop("base", None)
    return recipe if base is None else merge_config(load_config(base), recipe)


def merge_config(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` put over it, mapping by mapping; lists are replaced whole."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merge_config(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


@cache
def _text(name: str) -> str:
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
