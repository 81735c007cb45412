"""The labels in a recording: its field AIGC, and its Content Credentials."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from common.programs import LABEL_READER, program_command
from core.marks.content_credentials import LABEL_ASSERTION, SYNTHETIC_SOURCE
from core.marks.speech_label import SpeechLabel, label_of_tags
from core.media.decode import run_limited_child

TRUSTED: Final = "Trusted"
VALID: Final = "Valid"
CredentialState = Literal["own", "valid", "invalid"]
"""Signed by this installation, by somebody else, or changed since."""


@dataclass(frozen=True, slots=True)
class FoundCredentials:
    """What a manifest says."""

    state: CredentialState
    synthetic: bool
    """Whether it says that a model made the audio."""
    signer: str
    label: SpeechLabel | None
    time: str
    """As the manifest writes it; empty where it does not."""
    problems: tuple[str, ...]
    """Codes of the checks that failed, by C2PA's names."""


@dataclass(frozen=True, slots=True)
class FoundLabels:
    """The labels of a file; None for those that it does not have."""

    label: SpeechLabel | None
    credentials: FoundCredentials | None


def read_labels(path: Path, certificates: bytes) -> FoundLabels:
    """Read the labels of anybody's file in a limited child process; raise BadAudio for what is no audio.

    `certificates`: of this installation, in PEM; empty for none.
    """
    with tempfile.NamedTemporaryFile(suffix=".pem") as anchors:
        anchors.write(certificates)
        anchors.flush()
        options = [anchors.name] if certificates else []
        result = run_limited_child(program_command(LABEL_READER, str(path.absolute()), *options), path)
    report = result["credentials"]
    return FoundLabels(label_of_tags(result["tags"]), None if report is None else _found_credentials(report))


def _found_credentials(report: Mapping[str, Any]) -> FoundCredentials:
    manifest = report.get("manifests", {}).get(report.get("active_manifest"), {})
    store: dict[str, Any] = manifest.get("assertion_store", {})
    actions: list[dict[str, Any]] = [
        action
        for name, assertion in store.items()
        if name.startswith("c2pa.actions")
        for action in assertion.get("actions", ())
    ]
    checks = report.get("validation_results", {}).get("activeManifest", {})
    fields = store.get(LABEL_ASSERTION)
    states: dict[str, CredentialState] = {TRUSTED: "own", VALID: "valid"}
    return FoundCredentials(
        state=states.get(report.get("validation_state", ""), "invalid"),
        synthetic=any(action.get("digitalSourceType") == SYNTHETIC_SOURCE for action in actions),
        signer=str(manifest.get("signature", {}).get("issuer") or ""),
        label=SpeechLabel.of_fields(fields) if isinstance(fields, dict) else None,
        time=next((str(action["when"]) for action in actions if "when" in action), ""),
        problems=tuple(str(check.get("code")) for check in checks.get("failure", ())),
    )
