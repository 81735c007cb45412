"""The folder that the program lies in, and where its data lie."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
"""A checkout, or the folder of packages that a wheel was installed into."""
BUNDLED_PROMPTS: Final = REPOSITORY / "prompts" / "prompts.json"
"""The catalog of the prompts that come with the server."""


def default_data_path() -> Path:
    """Return the `data` folder of a checkout; for an installed package, which must not write beside itself, the user's.

    That is `$XDG_DATA_HOME/sovitsd`, else `~/.local/share/sovitsd`, on macOS and Windows what programs use there.
    """
    if (REPOSITORY / "pyproject.toml").is_file():
        return REPOSITORY / "data"
    if sys.platform == "darwin":
        return Path("~/Library/Application Support/sovitsd").expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local").expanduser() / "sovitsd"
    # The specification of base directories ignores a relative path.
    share = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
    return (share if share.is_absolute() else Path("~/.local/share").expanduser()) / "sovitsd"
