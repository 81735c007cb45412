"""The roles by name. Only the process that runs a role imports its module."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from core.errors import NotFound
from core.jobs.roles import FILES, PREPROCESSOR, SPLITTER, SYNTHESIZER, TRAINER
from roles.runtime.role import Role

ROLES: Final[dict[str, str]] = {
    SPLITTER: "roles.splitter:Splitter",
    SYNTHESIZER: "roles.synthesizer:Synthesizer",
    PREPROCESSOR: "roles.preprocessor:Preprocessor",
    TRAINER: "roles.trainer:Trainer",
    FILES: "roles.files:Files",
}
"""Role → `module:Class`."""


def make_role(name: str, class_path: str = "") -> Role:
    """Return a new instance of a role's class, or of `class_path` in its place."""
    if name not in ROLES:
        raise NotFound(f"No role is named {name!r}; there are {', '.join(ROLES)}.")
    module_name, _, class_name = (class_path or ROLES[name]).partition(":")
    role: Role = getattr(import_module(module_name), class_name)()
    return role
