"""What stays in memory, and for how long."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import hypothesis.strategies as st
import torch
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tiny_voices import write_tiny_voice

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import save_checkpoint
from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.engine.resident_models import ResidentModels
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.pipeline import Pipeline
from GPT_SoVITS.synthesis.model_loading import load_models
from GPT_SoVITS.synthesis.model_store import memory_of


class Weights(torch.nn.Module):
    """So many bytes."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(size, dtype=torch.uint8))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_least_recently_used_model_goes_when_the_bytes_run_out():
    models = ResidentModels(100)
    for name in "abc":
        models.get("voice", name, lambda: Weights(40), name=name)
        models.get("voice", "a", lambda: Weights(40), name="a")

    assert [model.name for model in models.snapshot()] == ["a", "c"]
    assert models.bytes == 80


def test_the_newest_of_each_kind_stays_even_where_it_is_too_large():
    models = ResidentModels(50)
    models.get("prompt", "p", lambda: Weights(5))
    models.get("voice", "small", lambda: Weights(30))
    models.get("voice", "large", lambda: Weights(300))

    assert [(model.kind, model.key) for model in models.snapshot()] == [("voice", "large"), ("prompt", "p")]


def test_memory_that_voices_share_counts_once():
    shared, models = Weights(60), ResidentModels(200)
    for name in "abc":
        models.get("voice", name, lambda: {"gpt": shared, "own": Weights(40)})

    assert models.bytes == 60 + 3 * 40
    assert len(models) == 3


def test_a_part_that_is_in_use_is_not_loaded_twice_and_goes_with_its_last_user():
    models = ResidentModels(1000)
    first = models.share("gpt", 1, lambda: Weights(10))

    assert models.share("gpt", 1, lambda: Weights(10)) is first
    del first
    assert memory_of(models.share("gpt", 1, lambda: Weights(20))).popitem()[1] == 20


def test_a_model_that_was_forgotten_while_it_is_in_use_is_found_again():
    models = ResidentModels(1000)
    in_use = models.get("voice", 1, lambda: Weights(10))

    models.clear()

    assert len(models) == 0
    assert models.get("voice", 1, lambda: Weights(10)) is in_use


def test_what_nobody_used_for_so_long_is_freed():
    clock, freed = Clock(), threading.Event()
    models = ResidentModels(1000, clock=clock, on_release=freed.set)
    models.get("voice", "old", lambda: Weights(10))
    clock.now = 50
    models.get("voice", "new", lambda: Weights(10))
    clock.now = 100

    models.tidy(60)

    assert [model.key for model in models.snapshot()] == ["new"]
    assert freed.is_set()
    assert models.bytes == 10


def test_a_model_that_many_threads_ask_for_at_once_is_loaded_once():
    loads = []
    begun = threading.Barrier(8)
    models = ResidentModels(1000)

    def load() -> Weights:
        loads.append(1)
        return Weights(10)

    def ask(_: int) -> Weights:
        begun.wait()
        return models.get("voice", 1, load)

    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(ask, range(8)))

    assert len(loads) == 1
    assert all(model is loaded[0] for model in loaded)


def test_models_that_were_forgotten_leave_nothing_behind():
    models = ResidentModels(1000)
    for number in range(100):
        models.get("voice", number, partial(models.share, "gpt", number, partial(Weights, 1)))
    models.clear()
    gc.collect()

    assert len(models._loading) == len(models._alive) == len(models._users) == len(models._pieces) == 0


def test_voices_of_one_gpt_share_it_and_weigh_what_their_files_weigh(tmp_path, recording):
    gpt, sovits = write_tiny_voice(tmp_path, "v2")
    other = tmp_path / "other.safetensors"
    other.write_bytes(sovits.read_bytes())
    models = ResidentModels(1 << 30)

    voices = [
        models.get("voice", path.name, lambda path=path: Pipeline.load(gpt, path, store=models))
        for path in (sovits, other)
    ]

    assert voices[0].gpt is voices[1].gpt
    single, both = sum(memory_of(voices[0]).values()), models.bytes
    weights = sum(parameter.nbytes for parameter in voices[0].gpt.parameters())
    assert single >= 2 * weights, "the weights, and those that are packed for decoding"
    assert single < both < 2 * single


def test_lora_voices_share_the_weights_of_their_base(tmp_path):
    fixtures = Path(__file__).parent.parent / "parity" / "fixtures" / "v3v4" / "lora"
    (tmp_path / "s2Gv3.pth").write_bytes((fixtures / "tiny_base.pth").read_bytes())
    files = [tmp_path / "first.pth", tmp_path / "second.pth"]
    for file in files:
        file.write_bytes((fixtures / "tiny_v3_lora.pth").read_bytes())
    models = ResidentModels(1 << 30)

    voices = [
        models.get(
            "voice",
            file.name,
            lambda file=file: (
                load_models(
                    write_small_gpt(tmp_path), file, models=tmp_path, device="cpu", precision="auto", store=models
                ).sovits
            ),
        )
        for file in files
    ]

    attention = "cfm.estimator.transformer_blocks.0.attn.to_q"
    first, second = (voice.get_submodule(attention) for voice in voices)
    assert first.base.weight.data_ptr() == second.base.weight.data_ptr()
    assert first.down.data_ptr() != second.down.data_ptr()
    assert models.bytes < 1.5 * sum(memory_of(voices[0]).values())


def write_small_gpt(folder: Path) -> Path:
    """Write a GPT with the codebook of the tiny v3 network."""
    sizes = {"embedding_dim": 16, "hidden_dim": 16, "head": 2, "n_layer": 1, "vocab_size": 33, "EOS": 32}
    config = merge_config(load_config("v2_gpt"), {"model": sizes})
    path = folder / "gpt.safetensors"
    if not path.exists():
        save_checkpoint(path, Checkpoint("gpt", "v2", config, Text2Semantic.from_config(config).state_dict()))
    return path


@settings(max_examples=50, suppress_health_check=list(HealthCheck))
class AnyUse(RuleBasedStateMachine):
    """The bytes are those of what is there, and no more than the budget allows."""

    @initialize(budget=st.integers(10, 200))
    def begin(self, budget: int) -> None:
        self.clock = Clock()
        self.models = ResidentModels(budget, clock=self.clock)
        self.parts = [Weights(7), Weights(11)]

    @rule(key=st.integers(0, 6), size=st.integers(1, 60), part=st.integers(0, 1), kind=st.sampled_from("ab"))
    def use(self, key: int, size: int, part: int, kind: str) -> None:
        self.clock.now += 1
        self.models.get(kind, key, lambda: (self.parts[part], Weights(size)))

    @rule(seconds=st.integers(1, 9))
    def tidy(self, seconds: int) -> None:
        self.models.tidy(seconds)
        assert all(model.idle_seconds < seconds for model in self.models.snapshot())

    @invariant()
    def bytes_are_those_of_what_is_there(self) -> None:
        pieces: dict[object, int] = {}
        for entry in self.models._entries.values():
            pieces |= memory_of(entry.model)
        assert self.models.bytes == sum(pieces.values())
        if self.models.bytes > self.models.budget:
            assert len({model.kind for model in self.models.snapshot()}) == len(self.models)


TestAnyUse = AnyUse.TestCase
