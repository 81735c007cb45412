"""The limited child that opens untrusted weights: `python -m roles.voices.import_child PLAN.json`.

It reads the files that the plan names, writes into one folder, and reports the voice or an error. It knows no keys and
no addresses, and its resources are limited, so that settings of absurd sizes cost one import and no more.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
from typing_extensions import TypedDict

from common.operating_system import IS_LINUX, ProcessLimits, limit_process
from core.child_process import EventWriter
from core.errors import SovitsError
from core.memory import address_space_bytes, available_memory_mb
from core.voices.archive import CheckpointEntry, unpack_voice, unpacked_files
from roles.runtime.errors import ReportedError, error_report, model_errors
from roles.voices.convert import ConvertedCheckpoint, ForeignVoice, check_exported, convert_voice

MEMORY_SHARE: Final = 0.75
"""Of the memory that is available on this host when the child starts."""
MIN_MEMORY_BYTES: Final = 1 << 30
"""With less than this, no voice of the family can be opened; the kernel then ends the child before others."""
DISK_SHARE: Final = 0.5
"""Of the free disk, for one file that the child writes."""
CPU_SECONDS: Final = 1800
OPEN_FILES: Final = 512


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What to open, and where to write."""

    folder: str
    models: str
    """Folder of official weights."""
    name: str
    language: str
    text: str = ""
    version: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    """Part → path: `archive`, or `gpt`, `sovits` and `prompt`."""


class CheckedCheckpoint(TypedDict):
    """Weights that can be published."""

    kind: str
    version: str
    path: str
    sha256: str
    epoch: int | None
    step: int | None


class CheckedPrompt(TypedDict):
    """A prompt that can be published."""

    name: str
    recording: str
    """Path of the decoded WAV."""
    text: str
    language: str
    tokens: list[int]
    description: str


class CheckpointDetails(TypedDict):
    """What an archive says of weights beside what they hold themselves."""

    name: str
    metrics: dict[str, Any]
    lineage: dict[str, Any]


class CheckedVoice(TypedDict):
    """A voice that was tried out and can be published."""

    name: str
    language: str
    gpt: CheckedCheckpoint
    sovits: CheckedCheckpoint
    prompts: list[CheckedPrompt]
    pronunciations: dict[str, str]
    loudness: float | None
    details: dict[str, CheckpointDetails]
    """By kind of weights."""
    consent: dict[str, object] | None
    """The fields of a `ConsentEntry`."""


class ImportReport(TypedDict, total=False):
    """What the child reports: one of the two."""

    voice: CheckedVoice
    error: ReportedError


def main(arguments: Sequence[str]) -> int:
    """Open the files of a plan and report; the exit code is 0 also for files that cannot be used."""
    events = EventWriter()
    plan = ImportPlan(**orjson.loads(Path(arguments[0]).read_bytes()))
    limit_resources(sum(Path(path).stat().st_size for path in plan.files.values()), Path(plan.folder))
    events.write(open_voice(plan))
    return 0


def open_voice(plan: ImportPlan) -> ImportReport:
    """Check, convert and try out the voice, or return the error that says why it cannot be used."""
    try:
        with model_errors():
            return {"voice": _open_archive(plan) if "archive" in plan.files else _open_weights(plan)}
    except SovitsError as error:
        return {"error": error_report(error)}
    except MemoryError:
        return {"error": {"code": "invalid_request", "message": "These files need more memory than a voice may."}}


def _open_weights(plan: ImportPlan) -> CheckedVoice:
    foreign = ForeignVoice(
        name=plan.name,
        gpt=Path(plan.files["gpt"]),
        sovits=Path(plan.files["sovits"]),
        recording=Path(plan.files["prompt"]),
        text=plan.text,
        language=plan.language,
        version=plan.version,
    )
    converted = convert_voice(foreign, plan.language, Path(plan.models), Path(plan.folder))
    return {
        "name": plan.name,
        "language": plan.language,
        "gpt": _as_report(converted.gpt),
        "sovits": _as_report(converted.sovits),
        "prompts": [
            {
                "name": "default",
                "recording": str(converted.recording),
                "text": plan.text,
                "language": plan.language,
                "tokens": converted.tokens,
                "description": "",
            }
        ],
        "pronunciations": {},
        "loudness": None,
        "details": {},
        "consent": None,
    }


def _open_archive(plan: ImportPlan) -> CheckedVoice:
    folder = Path(plan.folder)
    archived = unpack_voice(Path(plan.files["archive"]), folder)
    paths = unpacked_files(archived, folder)

    def checkpoint(kind: str, entry: CheckpointEntry) -> ConvertedCheckpoint:
        return ConvertedCheckpoint(kind, entry.version, paths[entry.file], entry.sha256, entry.epoch, entry.step)

    gpt, sovits = checkpoint("gpt", archived.gpt), checkpoint("sovits", archived.sovits)
    decoded = [folder / f"decoded-{number}.wav" for number in range(len(archived.prompts))]
    recordings = [
        (paths[prompt.file], target, prompt) for prompt, target in zip(archived.prompts, decoded, strict=True)
    ]
    tokens = check_exported(gpt, sovits, recordings, archived.language, Path(plan.models))
    return {
        "name": plan.name or archived.name,
        "language": archived.language,
        "gpt": _as_report(gpt),
        "sovits": _as_report(sovits),
        "prompts": [
            {
                "name": prompt.name,
                "recording": str(recording),
                "text": prompt.text,
                "language": prompt.language,
                "tokens": prompt_tokens,
                "description": prompt.description,
            }
            for prompt, recording, prompt_tokens in zip(archived.prompts, decoded, tokens, strict=True)
        ],
        "pronunciations": archived.pronunciations,
        "loudness": archived.loudness,
        "details": {
            kind: {"name": entry.name, "metrics": entry.metrics, "lineage": entry.lineage}
            for kind, entry in (("gpt", archived.gpt), ("sovits", archived.sovits))
        },
        "consent": None if archived.consent is None else archived.consent.model_dump(),
    }


def _as_report(checkpoint: ConvertedCheckpoint) -> CheckedCheckpoint:
    return {
        "kind": checkpoint.kind,
        "version": checkpoint.version,
        "path": str(checkpoint.path),
        "sha256": checkpoint.sha256,
        "epoch": checkpoint.epoch,
        "step": checkpoint.step,
    }


def limit_resources(bytes_of_files: int, folder: Path) -> None:
    """Limit this process to a share of what the host has now, in addition to mapping its files twice.

    Args:
        bytes_of_files: Size of the untrusted files, which are mapped, and once more after their conversion.
        folder: Where the process writes.
    """
    import torch  # noqa: F401  # now: what its libraries reserve and never touch is not charged to the files

    memory_bytes = None
    if IS_LINUX:
        memory = max(MIN_MEMORY_BYTES, int(available_memory_mb() * MEMORY_SHARE) << 20)
        memory_bytes = address_space_bytes() + memory + 2 * bytes_of_files
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            # When memory runs short all the same, the kernel ends this process first.
            Path("/proc/self/oom_score_adj").write_text("1000")
    file_bytes = int(shutil.disk_usage(folder).free * DISK_SHARE)
    limit_process(ProcessLimits(CPU_SECONDS, file_bytes, OPEN_FILES, memory_bytes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
