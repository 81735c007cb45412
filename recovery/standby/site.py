"""What a site keeps about its role, below `DATA_PATH/standby`."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final, TypeVar

import orjson
from pydantic import BaseModel, Field, ValidationError

from common.files import write_atomically
from common.operating_system import host_name
from core.private_files import create_once

FOLDER: Final = "standby"
Document = TypeVar("Document", bound=BaseModel)


class SiteIdentity(BaseModel):
    """Which site this is, whatever its address."""

    site: str
    host: str

    @classmethod
    def of(cls, data_path: Path) -> SiteIdentity:
        """Return the identity of a data folder; it is made at first use and is in no backup."""
        path = data_path / FOLDER / "site.json"
        if not path.exists():
            identity = cls(site=secrets.token_hex(12), host=host_name())
            create_once(path, identity.model_dump_json().encode())
        return cls.model_validate_json(path.read_bytes())


class WatchState(BaseModel):
    """How the main site was seen."""

    main_url: str = ""
    failures: int = 0
    """In a row."""
    last_success_at: float = 0.0
    last_failure_at: float = 0.0
    last_error: str = ""
    alerted_at: float = 0.0
    """Of the alert that is open; 0 for none."""
    switch_error: str = ""
    """Why the switch that followed the alert stopped."""
    prefetched: str = ""
    prefetched_until: float = 0.0
    """Until when the changes are here that were fetched ahead."""
    checked_at: float = 0.0


class SwitchState(BaseModel):
    """How far a switch or a return is: a step that was done is not done again."""

    kind: str = ""
    """`switch` or `return`; empty when none was ever begun."""
    started_at: float = 0.0
    done: list[str] = Field(default_factory=list)
    failed_step: str = ""
    error: str = ""
    finished_at: float = 0.0
    epoch: int = 0
    backup: str = ""
    complete_until: float = 0.0
    lost_seconds: float = 0.0
    """Between the newest change that was restored and the failure of the main site."""
    share: int = 0
    """Per cent of the traffic that the main site has again."""


class DrillReport(BaseModel):
    """The result of a drill."""

    at: float
    ok: bool
    backup: str
    backup_age_hours: float
    seconds: float
    steps: dict[str, float]
    problems: list[str]


class StandbyFolder:
    """The documents of a site's role."""

    def __init__(self, data_path: Path) -> None:
        self.path = data_path / FOLDER

    def read(self, kind: type[Document]) -> Document | None:
        """Return the newest document of a kind; None when there is none."""
        try:
            return kind.model_validate_json((self.path / f"{kind.__name__}.json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def write(self, document: BaseModel) -> None:
        """Replace the document of its kind."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = orjson.dumps(document.model_dump(), option=orjson.OPT_INDENT_2)
        write_atomically(self.path / f"{type(document).__name__}.json", content)
