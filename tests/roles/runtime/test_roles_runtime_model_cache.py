"""Models stay loaded as long as they are used and memory allows."""

from __future__ import annotations

import pytest

from roles.runtime.model_cache import ModelCache, file_version


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Memory:
    """Every model takes 400 MiB, the process 100."""

    def __init__(self) -> None:
        self.models: list[str] = []
        self.warm: ModelCache | None = None

    def __call__(self) -> float:
        return 100 + 400 * (len(self.warm) if self.warm else 0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def loads(loaded: list[str], name: str):
    def load() -> str:
        loaded.append(name)
        return name

    return load


def test_a_model_is_loaded_once_for_many_jobs(clock):
    models, loaded = ModelCache(clock=clock), []

    returned = [models.get("whisper", loads(loaded, "whisper")) for _ in range(3)]

    assert returned == ["whisper"] * 3
    assert loaded == ["whisper"]


def test_a_model_that_nobody_uses_is_forgotten_after_a_while(clock):
    models, loaded = ModelCache(keep_seconds=60, clock=clock), []
    models.get("whisper", loads(loaded, "whisper"))
    clock.now += 40
    models.get("hubert", loads(loaded, "hubert"))
    clock.now += 30

    models.tidy()

    assert len(models) == 1
    models.get("hubert", loads(loaded, "hubert"))
    models.get("whisper", loads(loaded, "whisper"))
    assert loaded == ["whisper", "hubert", "whisper"]


def test_the_one_unused_for_longest_makes_room(clock):
    memory, loaded = Memory(), []
    models = memory.warm = ModelCache(max_resident_mb=1000, clock=clock, resident_mb=memory)
    for name in ("whisper", "hubert", "whisper", "roberta"):
        models.get(name, loads(loaded, name))

    models.get("whisper", loads(loaded, "whisper"))

    assert len(models) == 2
    assert loaded == ["whisper", "hubert", "roberta"]


def test_the_model_in_use_stays_however_little_memory_there_is(clock):
    memory = Memory()
    models = memory.warm = ModelCache(max_resident_mb=0, clock=clock, resident_mb=memory)

    assert models.get("whisper", lambda: "whisper") == "whisper"
    assert len(models) == 1


def test_a_model_that_was_replaced_on_disk_has_another_stamp(tmp_path):
    file = tmp_path / "weights.bin"
    file.write_bytes(b"old")
    before = file_version(file)

    other = tmp_path / "new.bin"
    other.write_bytes(b"new")
    other.replace(file)

    assert file_version(file)[0] == before[0]
    assert file_version(file) != before


def test_a_preprocessor_with_nothing_to_do_gives_its_models_back(stage_bench):
    preprocessor = stage_bench.roles["preprocessor"]
    preprocessor.models.keep_seconds = 0.0
    preprocessor.models.get("anything", object)

    preprocessor.idle()

    assert len(preprocessor.models) == 0
