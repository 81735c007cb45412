"""The version of this package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """Return the version of the installed package; a checkout that was never installed has none."""
    try:
        return version("sovitsd")
    except PackageNotFoundError:
        return "0+checkout"
