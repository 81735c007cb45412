"""The plan: which role runs where."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.jobs.placement import TRAINING_MB
from core.jobs.roles import FILES, PREPROCESSOR, SPLITTER, SYNTHESIZER, TRAINER
from supervisor.gpu import Gpu
from supervisor.plan import MARGIN_MB, PlacementPlan, plan, plan_change


@dataclass(frozen=True)
class PlanOptions:
    num_models: int = 1
    gpu_memory_per_model_mb: int = -1
    num_preprocessors: int = 0
    num_file_workers: int = 1
    max_training_concurrent_gpu: int = 1
    max_training_concurrent_cpu: int = 2


def gpu(index: int, free_mb: int = 24_000, total_mb: int = 24_576) -> Gpu:
    return Gpu(index=index, uuid=f"GPU-{index:08d}", name="Test", total_mb=total_mb, free_mb=free_mb)


def synthesizers(placed: PlacementPlan) -> list[str]:
    return [placement.name for placement in placed.placements if placement.role == SYNTHESIZER]


def test_a_host_without_gpus_runs_every_role_on_the_cpu():
    placed = plan((), PlanOptions(), cores=2, memory_mb=8000)

    assert [placement.name for placement in placed.placements] == [
        "Splitter",
        "Worker-CPU-0",
        "Preprocessor",
        "Trainer",
        "Files",
    ]
    assert {placement.device for placement in placed.placements} == {"cpu"}


def test_training_gives_way_to_speech():
    placed = plan((), PlanOptions(), cores=2, memory_mb=8000)

    niceness = {placement.role: placement.niceness for placement in placed.placements}
    assert niceness[SYNTHESIZER] == niceness[SPLITTER] == 0 < niceness[TRAINER] == niceness[PREPROCESSOR]


def test_each_of_eight_gpus_has_an_engine_by_default_and_of_seven_after_one_was_lost():
    gpus = tuple(gpu(index) for index in range(8))

    for present in (gpus, (*gpus[:3], *gpus[4:])):
        placed = plan(present, PlanOptions(num_models=0), cores=64, memory_mb=256_000)
        assert synthesizers(placed) == [f"Worker-GPU{device.index}-0" for device in present]


def test_after_the_loss_of_one_gpu_of_eight_the_workers_of_seven_go_on():
    gpus = tuple(gpu(index) for index in range(8))
    before = plan(gpus, PlanOptions(num_models=0), cores=64, memory_mb=256_000)
    after = plan((*gpus[:3], *gpus[4:]), PlanOptions(num_models=0), cores=64, memory_mb=256_000)

    loss = plan_change(before.placements, after.placements)
    running = [item for item in before.placements if item not in loss.ended] + list(loss.started)
    back = plan_change(running, before.placements)

    assert {item.device for item in loss.ended} == {gpus[3].device}
    assert {item.role for item in loss.ended} == {SYNTHESIZER, TRAINER, *(item.role for item in loss.started)}
    assert [item.role for item in loss.started] in ([], [PREPROCESSOR])  # it moves to another GPU
    assert {(item.role, item.device) for item in back.started} >= {
        (SYNTHESIZER, gpus[3].device),
        (TRAINER, gpus[3].device),
    }
    assert {item.role for item in back.ended} <= {PREPROCESSOR}


def test_without_its_last_gpu_a_host_speaks_and_trains_on_its_cpu():
    on_gpu = plan((gpu(0),), PlanOptions(num_models=0), cores=8, memory_mb=64_000)
    on_cpu = plan((), PlanOptions(num_models=0), cores=8, memory_mb=64_000)

    change = plan_change(on_gpu.placements, on_cpu.placements)

    assert {item.role for item in change.started} == {SYNTHESIZER, PREPROCESSOR, TRAINER}
    assert {item.device for item in change.started} == {"cpu"}
    assert {item.role for item in on_gpu.placements if item not in change.ended} == {SPLITTER, FILES}


@given(
    present=st.sets(st.integers(0, 7)),
    later=st.sets(st.integers(0, 7)),
    preprocessors=st.integers(0, 6),
    replaced=st.sets(st.sampled_from([PREPROCESSOR, TRAINER])),
)
def test_after_any_change_what_runs_is_as_planned_and_no_name_comes_twice(
    present: set[int], later: set[int], preprocessors: int, replaced: set[str]
):
    options = PlanOptions(num_models=0, num_preprocessors=preprocessors)
    first, second = (
        plan(tuple(gpu(index) for index in sorted(indexes)), options, cores=32, memory_mb=256_000).placements
        for indexes in (present, later)
    )

    change = plan_change(first, second, replaced)

    running = [item for item in first if item not in change.ended] + list(change.started)
    assert Counter((item.role, item.device, item.dedicated) for item in running) == Counter(
        (item.role, item.device, item.dedicated) for item in second
    )
    assert len({item.name for item in running}) == len(running)
    assert all(item in change.ended for item in first if item.role in replaced)


def test_an_apple_gpu_speaks_and_its_cpu_trains():
    apple = Gpu(0, "mps", "Apple GPU", total_mb=16_000, free_mb=12_000, kind="mps")

    placed = plan((apple,), PlanOptions(num_models=0), cores=8, memory_mb=12_000)

    devices = {placement.role: placement.device for placement in placed.placements}
    assert (devices[SYNTHESIZER], devices[PREPROCESSOR], devices[TRAINER]) == ("mps", "cpu", "cpu")


def test_an_amd_gpu_is_placed_as_any_other():
    amd = Gpu(0, "GPU-0123456789abcdef", "AMD", total_mb=65_000, free_mb=64_000, kind="rocm")

    placed = plan((amd,), PlanOptions(num_models=0), cores=8, memory_mb=32_000)

    devices = {placement.role: placement.device for placement in placed.placements if not placement.dedicated}
    assert {devices[role] for role in (SYNTHESIZER, PREPROCESSOR, TRAINER)} == {"rocm:GPU-0123456789abcdef"}


def test_a_gpu_without_room_for_an_engine_has_none_by_default():
    placed = plan((gpu(0), gpu(1, free_mb=1500)), PlanOptions(num_models=0), cores=16, memory_mb=64_000)

    assert synthesizers(placed) == ["Worker-GPU0-0"]
    assert placed.notes == ("GPU 1 has 1500 MiB free, too little for a synthesizer of 2048 MiB.",)


def test_a_host_without_gpus_has_one_engine_by_default_that_uses_all_cores():
    placed = plan((), PlanOptions(num_models=0), cores=8, memory_mb=64_000, roles=(SYNTHESIZER,))

    assert [(placement.name, placement.threads) for placement in placed.placements] == [("Worker-CPU-0", 8)]


def test_instances_of_a_split_gpu_have_engines_of_their_own():
    instances = tuple(
        Gpu(0, f"MIG-{number}", "Test", total_mb=20_000, free_mb=19_000, instance=number) for number in (1, 2)
    )

    placed = plan(instances, PlanOptions(num_models=0), cores=16, memory_mb=64_000, roles=(SYNTHESIZER,))

    assert [(placement.name, placement.device) for placement in placed.placements] == [
        ("Worker-GPU0.1-0", "cuda:MIG-1"),
        ("Worker-GPU0.2-0", "cuda:MIG-2"),
    ]


def test_an_even_spread_counts_over_all_gpus():
    placed = plan((gpu(0), gpu(1)), PlanOptions(num_models=3), cores=16, memory_mb=64_000)

    assert synthesizers(placed) == ["Worker-GPU0-0", "Worker-GPU0-1", "Worker-GPU1-0"]


def test_memory_per_model_decides_the_slots_of_each_gpu():
    options = PlanOptions(num_models=8, gpu_memory_per_model_mb=4000)

    placed = plan((gpu(0), gpu(1, free_mb=9000)), options, cores=16, memory_mb=64_000, roles=(SYNTHESIZER,))

    counts = Counter(placement.gpu for placement in placed.placements)
    assert counts == {"0": (24_000 - MARGIN_MB) // 4000, "1": (9000 - MARGIN_MB) // 4000}


def test_a_training_reserves_memory_on_its_gpu():
    options = PlanOptions(num_models=8, gpu_memory_per_model_mb=4000)

    placed = plan((gpu(0),), options, cores=16, memory_mb=64_000)

    assert len(synthesizers(placed)) == (24_576 - TRAINING_MB - MARGIN_MB) // 4000


def test_speech_keeps_one_slot_on_a_gpu_that_a_training_would_fill():
    options = PlanOptions(num_models=4, gpu_memory_per_model_mb=3000)

    placed = plan((gpu(0, free_mb=7500, total_mb=8192),), options, cores=8, memory_mb=16_000)

    assert synthesizers(placed) == ["Worker-GPU0-0"]
    assert "shares it with the training" in placed.notes[0]


def test_a_gpu_without_room_leaves_speech_to_the_cpu_and_says_so():
    options = PlanOptions(num_models=2, gpu_memory_per_model_mb=6000)

    placed = plan((gpu(0, free_mb=3000),), options, cores=8, memory_mb=16_000)

    assert synthesizers(placed) == ["Worker-CPU-0", "Worker-CPU-1"]
    assert "too little for a synthesizer" in placed.notes[0]


def test_a_small_host_carries_fewer_synthesizers_than_asked_for_and_says_why():
    placed = plan((), PlanOptions(num_models=8), cores=4, memory_mb=64_000)

    assert len(synthesizers(placed)) == 2
    assert placed.notes == ("NUM_MODELS asks for 8 synthesizers; 4 cores carry 2.",)


def test_each_gpu_has_a_trainer():
    placed = plan((gpu(0), gpu(1)), PlanOptions(), cores=8, memory_mb=64_000)

    trainers = [placement for placement in placed.placements if placement.role == TRAINER]
    assert [(trainer.name, trainer.device, trainer.dedicated) for trainer in trainers] == [
        ("Trainer-GPU0", "cuda:GPU-00000000", False),
        ("Trainer-GPU1", "cuda:GPU-00000001", False),
        ("Trainer-CPU", "cpu", True),
    ]


def test_as_many_trainers_as_may_train_at_once_on_a_gpu():
    placed = plan((gpu(0),), PlanOptions(max_training_concurrent_gpu=2), cores=8, memory_mb=64_000, roles=(TRAINER,))

    assert [placement.name for placement in placed.placements] == ["Trainer-GPU0", "Trainer-GPU0-1", "Trainer-CPU"]


@pytest.mark.parametrize(("cores", "trainers"), [(2, 1), (8, 2), (64, 2)])
def test_trainers_on_a_cpu_share_its_cores_up_to_the_limit(cores: int, trainers: int):
    placed = plan((), PlanOptions(), cores=cores, memory_mb=64_000, roles=(TRAINER,))

    assert [placement.threads for placement in placed.placements] == [cores // trainers] * trainers


def preprocessors(placed: PlacementPlan) -> list[tuple[str, int]]:
    return [(placement.name, placement.threads) for placement in placed.placements if placement.role == PREPROCESSOR]


def test_two_cores_have_one_preprocessor_that_uses_both():
    placed = plan((), PlanOptions(), cores=2, memory_mb=64_000)

    assert preprocessors(placed) == [("Preprocessor", 2)]


def test_more_cores_run_stages_side_by_side():
    placed = plan((), PlanOptions(), cores=8, memory_mb=64_000)

    assert preprocessors(placed) == [(f"Preprocessor-{index}", 2) for index in range(4)]


def test_more_preprocessors_than_memory_carries_are_not_started():
    placed = plan((), PlanOptions(), cores=16, memory_mb=5000)

    assert preprocessors(placed) == [("Preprocessor-0", 8), ("Preprocessor-1", 8)]


def test_the_number_of_preprocessors_can_be_asked_for_as_far_as_the_cores_go():
    placed = plan((), PlanOptions(num_preprocessors=3), cores=2, memory_mb=2000, roles=(PREPROCESSOR,))

    assert preprocessors(placed) == [("Preprocessor-0", 1), ("Preprocessor-1", 1)]
    assert placed.notes == ("NUM_PREPROCESSORS asks for 3 preprocessors; 2 cores carry 2.",)


def test_preprocessors_take_turns_on_the_gpus_that_have_most_room():
    placed = plan((gpu(0, free_mb=4000), gpu(1)), PlanOptions(), cores=8, memory_mb=64_000, roles=(PREPROCESSOR,))

    assert [placement.gpu for placement in placed.placements] == ["1", "0", "1", "0"]


def test_workers_of_files_share_the_cores():
    placed = plan((gpu(0),), PlanOptions(num_file_workers=2), cores=8, memory_mb=64_000, roles=(FILES,))

    assert [(placement.name, placement.device, placement.threads) for placement in placed.placements] == [
        ("Files-0", "cpu", 4),
        ("Files-1", "cpu", 4),
    ]


def test_only_the_wanted_roles_are_placed():
    placed = plan((), PlanOptions(), cores=4, memory_mb=8000, roles=(TRAINER,))

    assert [placement.role for placement in placed.placements] == [TRAINER]


@given(
    gpus=st.lists(st.integers(0, 80_000), max_size=8),
    options=st.builds(
        PlanOptions, st.integers(1, 64), st.one_of(st.just(-1), st.integers(1, 40_000)), st.integers(0, 64)
    ),
    cores=st.integers(1, 256),
    memory_mb=st.integers(0, 1_000_000),
)
def test_a_role_fits_the_cores_and_every_name_is_its_own(
    gpus: list[int], options: PlanOptions, cores: int, memory_mb: int
):
    placed = plan(
        tuple(gpu(index, free, total_mb=80_000) for index, free in enumerate(gpus)), options, cores, memory_mb
    )

    names = [placement.name for placement in placed.placements]
    assert len(set(names)) == len(names)
    assert synthesizers(placed)
    for role in (SPLITTER, SYNTHESIZER, PREPROCESSOR, TRAINER, FILES):
        own = [placement for placement in placed.placements if placement.role == role and not placement.dedicated]
        assert sum(placement.threads for placement in own) <= max(cores, len(own))


def test_the_table_has_a_line_for_each_process():
    placed = plan((gpu(0),), PlanOptions(num_models=2), cores=8, memory_mb=16_000)

    lines = placed.table().splitlines()

    assert lines[0].split() == ["process", "role", "device", "threads", "nice"]
    assert [line.split()[0] for line in lines[1:]] == [placement.name for placement in placed.placements]


@pytest.mark.parametrize("roles", [(), ("nobody",)])
def test_no_wanted_role_makes_an_empty_plan(roles: tuple[str, ...]):
    assert plan((), PlanOptions(), cores=2, memory_mb=4000, roles=roles).placements == ()
