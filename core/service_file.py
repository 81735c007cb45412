"""The YAML file of the training service: sections of names, each of which stands for a setting."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from core.errors import SovitsError

CONFIG_FILE: Final = "CONFIG_FILE"
USUAL_PLACES: Final = ("config.yaml", "config/config.yaml")
NAMES: Final[Mapping[str, str]] = {
    "server.host": "host",
    "server.port": "PORT",
    "server.workers": "api_workers",
    "paths.base_dir": "models_path",
    "paths.work_dir": "data_path",
    "gpu.default_device": "default_gpu",
    "gpu.max_parallel": "num_preprocessors",
    "training.default_epochs_s2": "default_epochs_s2",
    "training.default_epochs_s1": "default_epochs_s1",
    "training.default_batch_size": "default_batch_size",
}
"""Name in the file → field of the settings, or the alias that gives way to the environment."""
WEIGHTS_BELOW: Final = Path("GPT_SoVITS") / "pretrained_models"
"""Where a checkout of upstream has the official weights."""


class BadServiceFile(SovitsError):
    """The file cannot be read, or names something that is no setting."""

    code = "bad_settings"


def read_service_file(named: str = "") -> dict[str, Any]:
    """Return the settings of the file that is named, else of one at its usual places; nothing without a file.

    Raises:
        BadServiceFile: a file that was named is missing, one cannot be read, or has an unknown name.
    """
    named = named or os.environ.get(CONFIG_FILE, "")
    path = Path(named) if named else next((place for place in map(Path, USUAL_PLACES) if place.is_file()), None)
    if path is None:
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadServiceFile(f"{CONFIG_FILE}={path} cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        problem = str(error).replace("\n", " ")
        raise BadServiceFile(f"{path} is no YAML that can be read: {problem}.") from None
    values = dict(_flatten(content if content is not None else {}, path))
    if unknown := sorted(values.keys() - NAMES.keys()):
        raise BadServiceFile(
            f"{path} has names that are no setting: {', '.join(unknown)}.", hint=f"There are {', '.join(NAMES)}."
        )
    return {NAMES[name]: _converted(name, value) for name, value in values.items() if value is not None}


def _flatten(content: Any, path: Path) -> list[tuple[str, Any]]:
    if not isinstance(content, dict) or not all(isinstance(section, dict) for section in content.values()):
        raise BadServiceFile(
            f"{path} does not consist of sections of names.",
            hint="One is like this: server: {host: 127.0.0.1, port: 8000}",
        )
    return [(f"{section}.{name}", value) for section, names in content.items() for name, value in names.items()]


def _converted(name: str, value: Any) -> Any:
    if name == "paths.base_dir":
        below = Path(str(value)) / WEIGHTS_BELOW
        return str(below if below.is_dir() else value)
    return str(value)
