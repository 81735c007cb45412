"""Which role runs where: a pure function of the GPUs, the settings, the cores and the memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from core.errors import InvalidRequest
from core.jobs.placement import TRAINING_MB
from core.jobs.roles import FILES, PREPROCESSOR, SPLITTER, SYNTHESIZER, TRAINER, WAITING_LISTS
from supervisor.gpu import Gpu

CPU = "cpu"

MARGIN_MB = 512
"""VRAM left free on every GPU, MiB: CUDA's own context grows."""
ENGINE_MB = 2048
"""VRAM that a synthesizer needs at least, MiB, where GPU_MEMORY_PER_MODEL_MB says no other: CUDA and a voice."""
CPU_SYNTHESIZER_MB = 1500
"""Memory of a synthesizer on a CPU, MiB: torch, a voice and its text front end."""
PREPROCESSOR_MB = 2000
"""Memory that a preprocessor is given, MiB, when their number is left to the plan."""
MAX_PREPROCESSORS = 4
"""Stages of one experiment that can run at once are three; more preprocessors only help several experiments."""
PREPROCESSOR_CORES = 2
"""A second preprocessor makes the first one slower unless there are so many cores for each."""
TRAINING_CORES = 4
"""A second training on a CPU makes the first one slower unless there are so many cores for each."""
BATCH_NICENESS = 10
"""Training and preparation give way to speech, which someone waits for."""


class PlanSettings(Protocol):
    """The settings that the plan reads (core.settings.Settings has them)."""

    @property
    def num_models(self) -> int: ...

    @property
    def gpu_memory_per_model_mb(self) -> int: ...

    @property
    def num_preprocessors(self) -> int: ...

    @property
    def num_file_workers(self) -> int: ...

    @property
    def max_training_concurrent_gpu(self) -> int: ...

    @property
    def max_training_concurrent_cpu(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Placement:
    """One child process: a role on a device."""

    role: str
    name: str
    """As log lines call it: `Trainer`, `Worker-GPU0-1`."""
    device: str
    """`cpu`, `cuda:<UUID>`, `rocm:<UUID>` or `mps`."""
    index: int
    """Counts the processes of a role, from 0."""
    threads: int
    """Cores for number libraries."""
    niceness: int = 0
    gpu: str | None = None
    """The GPU's label, for people."""
    dedicated: bool = False
    """Whether it takes only jobs with a constraint to its device."""


@dataclass(frozen=True, slots=True)
class PlacementPlan:
    """All placements of this host, and the reasons worth reading."""

    placements: tuple[Placement, ...]
    notes: tuple[str, ...] = ()

    def table(self) -> str:
        """Return the plan as a table for people, one line per process."""
        rows = [("process", "role", "device", "threads", "nice")]
        for placement in self.placements:
            device = "cpu" if placement.gpu is None else f"gpu {placement.gpu}"
            rows.append((placement.name, placement.role, device, str(placement.threads), str(placement.niceness)))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


@dataclass(frozen=True, slots=True)
class PlanChange:
    """What a new plan does to the processes that run."""

    started: tuple[Placement, ...]
    ended: tuple[Placement, ...]


def plan_change(
    running: Sequence[Placement], planned: Sequence[Placement], replaced_roles: Collection[str] = ()
) -> PlanChange:
    """Return which processes to start and to end; one with a planned role and device goes on as it is.

    Those of `replaced_roles` are started anew. Names of started ones are none of those that go on.
    """
    missing, ended, names = list(planned), [], set()
    for placement in running:
        place = next((item for item in missing if _place(item) == _place(placement)), None)
        if place is None or placement.role in replaced_roles:
            ended.append(placement)
        else:
            missing.remove(place)
            names.add(placement.name)
    started = []
    for placement in missing:
        if placement.name in names:
            free = (item for item in planned if item.role == placement.role and item.name not in names)
            other = next(free)
            placement = replace(placement, name=other.name, index=other.index)
        names.add(placement.name)
        started.append(placement)
    return PlanChange(tuple(started), tuple(ended))


def _place(placement: Placement) -> tuple[str, str, bool]:
    return placement.role, placement.device, placement.dedicated


def plan(
    gpus: tuple[Gpu, ...],
    settings: PlanSettings,
    cores: int,
    memory_mb: int,
    roles: Collection[str] = tuple(WAITING_LISTS),
) -> PlacementPlan:
    """Place the given roles on the devices of a host.

    Threads are shared out per role, so that each role by itself fits the cores; roles mostly take turns
    (a voice is prepared, then trained, then speaks), and idle threads do not spin.
    """
    notes: list[str] = []
    placements: list[Placement] = []
    training_gpus = tuple(gpu for gpu in gpus if gpu.trains)
    if SPLITTER in roles:
        placements.append(Placement(SPLITTER, "Splitter", CPU, 0, threads=1))
    if SYNTHESIZER in roles:
        trains_here = TRAINER in roles and bool(training_gpus)
        placements += _place_synthesizers(gpus, settings, cores, memory_mb, trains_here, notes)
    if PREPROCESSOR in roles:
        placements += _place_preprocessors(training_gpus, settings.num_preprocessors, cores, memory_mb, notes)
    if TRAINER in roles:
        placements += _place_trainers(training_gpus, settings, cores)
    if FILES in roles and settings.num_file_workers:
        count = settings.num_file_workers
        names = ["Files"] if count == 1 else [f"Files-{index}" for index in range(count)]
        threads = max(1, cores // count)
        placements += [Placement(FILES, name, CPU, index, threads, BATCH_NICENESS) for index, name in enumerate(names)]
    return PlacementPlan(tuple(placements), tuple(notes))


def count_fitting(gpu: Gpu, per_model_mb: int, most: int, reserved_mb: int) -> int:
    """Return `floor((min(free, total − reserved) − margin) / per model)`, at most `most`."""
    usable = min(gpu.free_mb, gpu.total_mb - reserved_mb) - MARGIN_MB
    return max(0, min(most, usable // per_model_mb))


def _place_synthesizers(
    gpus: tuple[Gpu, ...],
    settings: PlanSettings,
    cores: int,
    memory_mb: int,
    trains_here: bool,
    notes: list[str],
) -> list[Placement]:
    counts = _synthesizers_per_gpu(gpus, settings, trains_here, notes) if gpus else []
    total = sum(counts)
    if total == 0:
        return _place_cpu_synthesizers(settings, cores, memory_mb, notes)
    threads = max(1, cores // total)
    placements: list[Placement] = []
    for gpu, count in zip(gpus, counts, strict=True):
        for number in range(count):
            placements.append(
                Placement(
                    SYNTHESIZER,
                    f"Worker-GPU{gpu.label}-{number}",
                    gpu.device,
                    len(placements),
                    threads,
                    gpu=gpu.label,
                )
            )
    return placements


def _synthesizers_per_gpu(
    gpus: tuple[Gpu, ...], settings: PlanSettings, trains_here: bool, notes: list[str]
) -> list[int]:
    """Return the synthesizers of each GPU: one each, or as many as NUM_MODELS asks for.

    Speech keeps its share where a training would take all of it.
    """
    if settings.gpu_memory_per_model_mb < 0 and settings.num_models:
        share, rest = divmod(settings.num_models, len(gpus))
        return [share + (position < rest) for position in range(len(gpus))]
    counts = []
    needed_mb = settings.gpu_memory_per_model_mb if settings.gpu_memory_per_model_mb > 0 else ENGINE_MB
    most = settings.num_models or 1
    for gpu in gpus:
        alone = count_fitting(gpu, needed_mb, most, 0)
        count = alone
        if trains_here:
            count = count_fitting(gpu, needed_mb, most, TRAINING_MB)
            if count == 0 < alone:
                count = 1
                notes.append(f"GPU {gpu.label} is small: one synthesizer shares it with the training.")
        if alone == 0:
            notes.append(
                f"GPU {gpu.label} has {gpu.free_mb} MiB free, too little for a synthesizer of {needed_mb} MiB."
            )
        counts.append(count)
    return counts


def _place_cpu_synthesizers(settings: PlanSettings, cores: int, memory_mb: int, notes: list[str]) -> list[Placement]:
    by_cores, by_memory = max(1, cores // 2), max(1, memory_mb // CPU_SYNTHESIZER_MB)
    count = min(settings.num_models or 1, by_cores, by_memory)
    if count < settings.num_models:
        limit = f"{cores} cores" if by_cores <= by_memory else f"{memory_mb} MiB of memory"
        notes.append(f"NUM_MODELS asks for {settings.num_models} synthesizers; {limit} carry {count}.")
    if memory_mb < CPU_SYNTHESIZER_MB:
        notes.append(f"{memory_mb} MiB of memory are free; a synthesizer takes about {CPU_SYNTHESIZER_MB} MiB.")
    threads = max(1, cores // count)
    return [Placement(SYNTHESIZER, f"Worker-CPU-{index}", CPU, index, threads) for index in range(count)]


def _place_preprocessors(
    gpus: tuple[Gpu, ...], requested: int, cores: int, memory_mb: int, notes: list[str]
) -> list[Placement]:
    """Place enough preprocessors for the stages that can run at once, as far as cores and memory allow.

    `requested` is NUM_PREPROCESSORS; 0 leaves the number to the plan.
    """
    fitting = max(1, min(cores // PREPROCESSOR_CORES, memory_mb // PREPROCESSOR_MB))
    count = min(requested, cores) if requested else min(MAX_PREPROCESSORS, fitting)
    if count < requested:
        notes.append(f"NUM_PREPROCESSORS asks for {requested} preprocessors; {cores} cores carry {count}.")
    gpus_by_free_memory = sorted(gpus, key=lambda gpu: gpu.free_mb, reverse=True)
    threads = max(1, cores // count)
    placements = []
    for index in range(count):
        name = "Preprocessor" if count == 1 else f"Preprocessor-{index}"
        gpu = gpus_by_free_memory[index % len(gpus_by_free_memory)] if gpus_by_free_memory else None
        device = gpu.device if gpu else CPU
        placements.append(
            Placement(PREPROCESSOR, name, device, index, threads, BATCH_NICENESS, gpu.label if gpu else None)
        )
    return placements


def _place_trainers(gpus: tuple[Gpu, ...], settings: PlanSettings, cores: int) -> list[Placement]:
    """Place as many trainers as may train at once on each GPU, or on the CPU; beside GPUs one dedicated to the CPU.

    A trainer only waits for its training, so one that has nothing to do costs little.
    """
    if not gpus:
        count = max(1, min(settings.max_training_concurrent_cpu, cores // TRAINING_CORES))
        threads = max(1, cores // count)
        names = ["Trainer"] if count == 1 else [f"Trainer-{index}" for index in range(count)]
        return [Placement(TRAINER, name, CPU, index, threads, BATCH_NICENESS) for index, name in enumerate(names)]
    slots = [(gpu, slot) for gpu in gpus for slot in range(max(1, settings.max_training_concurrent_gpu))]
    threads = max(1, cores // len(slots))
    placements = []
    for index, (gpu, slot) in enumerate(slots):
        name = "Trainer" if len(slots) == 1 else f"Trainer-GPU{gpu.label}" + (f"-{slot}" if slot else "")
        placements.append(Placement(TRAINER, name, gpu.device, index, threads, BATCH_NICENESS, gpu.label))
    spare = Placement(TRAINER, "Trainer-CPU", CPU, len(slots), max(1, cores // 2), BATCH_NICENESS, dedicated=True)
    return [*placements, spare]


def select_roles(names: str) -> tuple[str, ...]:
    """Return the roles of a list of names separated by commas; empty means all.

    A host with the splitter or the preprocessor has `files` as well: before that role existed, they did its work.
    Raises InvalidRequest for an unknown name.
    """
    selected = tuple(name.strip() for name in names.split(",") if name.strip()) or tuple(WAITING_LISTS)
    if unknown := [name for name in selected if name not in WAITING_LISTS]:
        raise InvalidRequest(f"No role is named {unknown[0]!r}; there are {', '.join(WAITING_LISTS)}.")
    if FILES not in selected and (SPLITTER in selected or PREPROCESSOR in selected):
        selected += (FILES,)
    return selected
