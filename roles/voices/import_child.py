"""The limited child that opens a stranger's weights: `python -m roles.voices.import_child PLAN.json`.

It reads the files that the plan names, writes into one folder, and leaves its answer there. It knows no keys and no
addresses, and what it may use is bounded, so that settings of absurd sizes cost one import and no more.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from core.errors import SovitsError
from core.voices.archive import VoiceManifest, unpack_voice, unpacked_files
from roles.runtime.errors import model_errors
from roles.voices.convert import Asked, Weights, check_exported, make_voice

ADDRESS_SPACE: Final = 24 << 30
"""Bytes beside four times what the files have; torch alone reserves some GiB that it never touches."""
CPU_SECONDS: Final = 1800
OPEN_FILES: Final = 512
ANSWER: Final = "answer.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to open, and where to write."""

    folder: str
    models: str
    """Where official weights lie."""
    name: str
    language: str
    text: str = ""
    version: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    """Part → path."""


def main(arguments: Sequence[str]) -> int:
    plan = Plan(**orjson.loads(Path(arguments[0]).read_bytes()))
    _limit(sum(Path(path).stat().st_size for path in plan.files.values()))
    try:
        with model_errors():
            answer = _from_archive(plan) if "archive" in plan.files else _from_weights(plan)
    except SovitsError as error:
        answer = {"error": error.as_dict()}
    except MemoryError:
        answer = {"error": {"code": "invalid_request", "message": "These files need more memory than a voice may."}}
    Path(plan.folder, ANSWER).write_bytes(orjson.dumps(answer))
    return 0


def _from_weights(plan: Plan) -> dict[str, Any]:
    asked = Asked(
        name=plan.name,
        gpt=Path(plan.files["gpt"]),
        sovits=Path(plan.files["sovits"]),
        recording=Path(plan.files["prompt"]),
        text=plan.text,
        language=plan.language,
        version=plan.version,
    )
    made = make_voice(asked, plan.language, Path(plan.models), Path(plan.folder))
    prompt = {
        "name": "default",
        "recording": str(made.recording),
        "text": plan.text,
        "language": plan.language,
        "tokens": made.tokens,
    }
    return {
        "name": plan.name,
        "language": plan.language,
        "gpt": _shown(made.gpt),
        "sovits": _shown(made.sovits),
        "prompts": [prompt],
        "pronunciations": {},
        "told": {},
    }


def _from_archive(plan: Plan) -> dict[str, Any]:
    folder = Path(plan.folder)
    archived = unpack_voice(Path(plan.files["archive"]), folder)
    paths = unpacked_files(archived, folder)
    gpt, sovits = _weights("gpt", archived, paths), _weights("sovits", archived, paths)
    recordings = [
        (paths[one.file], folder / f"decoded-{number}.wav", one) for number, one in enumerate(archived.prompts)
    ]
    tokens = check_exported(gpt, sovits, recordings, archived.language, Path(plan.models))
    prompts = [
        {
            "name": one.name,
            "recording": str(decoded),
            "text": one.text,
            "language": one.language,
            "tokens": found,
        }
        for (_, decoded, one), found in zip(recordings, tokens, strict=True)
    ]
    return {
        "name": plan.name or archived.name,
        "language": archived.language,
        "gpt": _shown(gpt),
        "sovits": _shown(sovits),
        "prompts": prompts,
        "pronunciations": archived.pronunciations,
        "told": {
            kind: {"name": one.name, "metrics": one.metrics, "lineage": one.lineage}
            for kind, one in (("gpt", archived.gpt), ("sovits", archived.sovits))
        },
    }


def _weights(kind: str, archived: VoiceManifest, paths: dict[str, Path]) -> Weights:
    said = archived.gpt if kind == "gpt" else archived.sovits
    return Weights(kind, said.version, paths[said.file], said.sha256, said.epoch, said.step)


def _shown(weights: Weights) -> dict[str, Any]:
    return {**asdict(weights), "path": str(weights.path)}


def _limit(bytes_of_files: int) -> None:
    for limit, value in (
        (resource.RLIMIT_AS, ADDRESS_SPACE + 4 * bytes_of_files),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (lowered, lowered))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
