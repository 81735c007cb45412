"""The decoder in C++ against PyTorch's, with every set of kernels that this processor can run."""

from __future__ import annotations

import copy
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from gpt_generation import generate_seeded, row
from native_models import model_of

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.continuous_batching import ContinuousBatch
from GPT_SoVITS.gpt.decoder import GenerationInput, TorchDecoder
from GPT_SoVITS.gpt.decoder_choice import new_decoder
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.native import library
from GPT_SoVITS.gpt.native.decoder import NativeDecoder
from GPT_SoVITS.gpt.native.weights import Kind, pack_native_weights
from GPT_SoVITS.gpt.sampling import SamplingSettings
from GPT_SoVITS.gpt.weight_cache import WeightCache

native = library.load_library()
pytestmark = pytest.mark.skipif(native is None, reason="the native decoder was not built: there is no C++ compiler")
KERNELS = [
    name
    for name in ("avx512", "avx_vnni", "avx2", "portable")
    if native is not None and native.sovitsd_kernels(name.encode())
]
TOLERANCE: dict[Kind, float] = {"single": 1e-5, "half": 1e-5, "int8": 4e-2}


@pytest.fixture(params=KERNELS)
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make decoders with these kernels."""
    monkeypatch.setenv(library.KERNELS_VARIABLE, request.param)
    return str(request.param)


MODEL = model_of()


def halved(model: Text2Semantic) -> Text2Semantic:
    return copy.deepcopy(model).half()


def decoder_of(model: Text2Semantic, kind: Kind, threads: int = 1) -> NativeDecoder:
    return NativeDecoder(pack_native_weights(halved(model) if kind == "half" else model, kind), threads)


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["single", "half", "int8"])
@pytest.mark.parametrize(("width", "heads"), [(64, 4), (128, 4), (320, 4), (256, 4)])
def test_logits_equal_those_of_pytorch(kernels: str, kind: Kind, width: int, heads: int) -> None:
    model = model_of(width, heads)
    decoder, reference = decoder_of(model, kind), TorchDecoder(model)
    rows = [row(seed) for seed in range(5)]

    worst = (decoder.prefill(rows, 20) - reference.prefill(rows, 20)).abs().max()
    for token in range(8):
        tokens = torch.arange(5) + token
        worst = torch.maximum(worst, (decoder.step(tokens) - reference.step(tokens)).abs().max())

    assert worst <= TOLERANCE[kind]


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["single", "half", "int8"])
def test_a_row_has_the_same_bits_in_every_company(kernels: str, kind: Kind) -> None:
    weights = pack_native_weights(halved(MODEL) if kind == "half" else MODEL, kind)
    for count, threads in ((1, 2), (2, 1), (3, 2), (4, 1), (8, 2), (11, 1)):
        company, alone, last = NativeDecoder(weights, threads), NativeDecoder(weights), count - 1

        together = company.prefill([row(seed) for seed in range(count)], 10)
        assert torch.equal(together[last], alone.prefill([row(last)], 10)[0])
        for token in range(6):
            tokens = torch.arange(count) + token
            assert torch.equal(company.step(tokens)[last], alone.step(tokens[last:])[0])
        if count > 1:
            company.remove_row(0)  # the last row takes its number
            tokens = torch.arange(count - 1)
            assert torch.equal(company.step(tokens)[0], alone.step(tokens[:1])[0])


@torch.inference_mode()
def test_every_set_of_kernels_with_fused_products_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for name in KERNELS:
        monkeypatch.setenv(library.KERNELS_VARIABLE, name)
        decoder = decoder_of(MODEL, "half")
        decoder.prefill([row(1), row(2)], 10)
        results.append(decoder.step(torch.tensor([5, 6])))

    fused = [result for name, result in zip(KERNELS, results, strict=True) if name != "portable"]
    assert all(torch.equal(result, results[0]) for result in fused)


@pytest.mark.parametrize("pointers", [(), ((1, 0), (2, 3))])
def test_generation_equals_that_of_pytorch(kernels: str, pointers: tuple[tuple[int, int], ...]) -> None:
    model, settings = model_of(pointers=pointers), SamplingSettings(early_stop_num=40)
    rows, seeds = [row(1), row(6), row(9)], [3, 4, 5]

    expected = generate_seeded(model, rows, settings, seeds, decoder=TorchDecoder(model))

    assert generate_seeded(model, rows, settings, seeds, decoder=decoder_of(model, "half")) == expected
    assert all(expected)


@torch.inference_mode()
def test_half_precision_keeps_subnormal_weights(kernels: str) -> None:
    model = model_of()
    with torch.no_grad():
        for parameter in model.model.h.parameters():
            parameter.mul_(2.0**-12).copy_(parameter.half().float())
    smallest = next(halved(model).model.h.layers.parameters()).abs()
    assert ((smallest > 0) & (smallest < 2.0**-14)).any()
    half, single = decoder_of(model, "half"), decoder_of(model, "single")

    assert torch.equal(half.prefill([row(1)], 5), single.prefill([row(1)], 5))


@torch.inference_mode()
def test_tokens_that_the_model_does_not_have_and_steps_beyond_the_end_are_rejected() -> None:
    decoder = decoder_of(MODEL, "single")
    decoder.prefill([GenerationInput(torch.arange(15))], 0)  # room for this and no more

    with pytest.raises(ModelError, match="does not have"):
        decoder.step(torch.tensor([65]))
    with pytest.raises(ModelError, match="does not have"):
        decoder.step(torch.tensor([-1]))
    decoder.step(torch.tensor([1]))
    with pytest.raises(ModelError, match="does not have"):
        decoder.step(torch.tensor([1]))
    with pytest.raises(ModelError, match="does not have"):
        decoder.remove_row(1)


@torch.inference_mode()
def test_a_damaged_checkpoint_is_reported_and_not_spoken() -> None:
    model = model_of()
    with torch.no_grad():
        model.get_parameter("model.h.layers.1.linear1.weight")[3, 5] = torch.nan

    with pytest.raises(ModelError, match="damaged"):
        decoder_of(model, "single").prefill([row(1)], 5)
    with pytest.raises(ModelError, match="damaged"):
        decoder_of(model, "int8").prefill([row(1)], 5)


@torch.inference_mode()
def test_a_row_takes_memory_for_the_positions_that_it_has_and_not_for_all_that_it_may_get() -> None:
    decoder, rows = decoder_of(MODEL, "single"), 20
    decoder.prefill([row(1)], 1500)
    capacity = rows * 3 * 2 * 128 * 1500 * 4  # of float32, in all layers' keys and values
    before = resident_bytes()
    for _ in range(3):  # freed memory is used again
        decoder.prefill([row(seed) for seed in range(rows)], 1500)
        for _ in range(rows - 1):
            decoder.remove_row(0)

    assert resident_bytes() - before < capacity / 20


def resident_bytes() -> int:
    """Return how much memory the process takes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


THREADS_OF_MANY_DECODERS = """
import sys
from threading import active_count
sys.path += sys.argv[1:]
import torch
from pathlib import Path
from gpt_generation import row
from test_native_decoder import MODEL, decoder_of
def threads(): return len(list(Path("/proc/self/task").iterdir()))
with torch.inference_mode():
    before = threads()
    decoders = [decoder_of(MODEL, "single", threads=3) for _ in range(8)]
    for decoder in decoders:
        decoder.prefill([row(1)], 5)
    print(threads() - before)
"""
TOO_MANY_THREADS = """
import resource, sys
sys.path += sys.argv[1:]
import torch
from pathlib import Path
from gpt_generation import row
from test_native_decoder import MODEL, decoder_of
weights = decoder_of(MODEL, "single").weights
from GPT_SoVITS.gpt.native.decoder import NativeDecoder
size = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (size + (100 << 20), resource.RLIM_INFINITY))
try:
    NativeDecoder(weights, threads=100)
except MemoryError:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with torch.inference_mode():
        print(tuple(NativeDecoder(weights, threads=2).prefill([row(1)], 5).shape))
"""


def run_program(program: str) -> str:
    """Run a program that imports this module, and return what it prints."""
    folders = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    finished = subprocess.run([sys.executable, "-c", program, *folders], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def test_all_decoders_of_a_process_share_their_threads() -> None:
    assert run_program(THREADS_OF_MANY_DECODERS) == "2"


def test_threads_that_cannot_be_started_are_a_lack_of_memory_and_not_the_end_of_the_process() -> None:
    assert run_program(TOO_MANY_THREADS) == "(1, 65)"


@torch.inference_mode()
def test_decoders_on_many_threads_take_turns_and_keep_their_bits() -> None:
    weights = pack_native_weights(MODEL, "int8")
    expected = NativeDecoder(weights).prefill([row(1), row(2)], 5)
    results: list[torch.Tensor] = []

    def decode() -> None:
        decoder = NativeDecoder(weights, threads=2)
        for _ in range(5):
            results.append(decoder.prefill([row(1), row(2)], 5))

    threads = [threading.Thread(target=decode) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(results) == 20
    assert all(torch.equal(result, expected) for result in results)


def test_the_native_decoder_is_taken_where_it_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(ContinuousBatch(MODEL).decoder, NativeDecoder)
    assert isinstance(new_decoder(MODEL, "int8"), NativeDecoder)
    assert isinstance(new_decoder(MODEL, "bf16"), TorchDecoder)
    assert isinstance(new_decoder(model_of(96, 4)), TorchDecoder), "no whole groups"

    monkeypatch.setattr("GPT_SoVITS.gpt.decoder_choice.load_library", lambda: None)
    assert isinstance(new_decoder(MODEL), TorchDecoder)
    with pytest.raises(ModelError, match="int8 needs the native decoder"):
        new_decoder(MODEL, "int8")


def test_a_library_that_cannot_be_loaded_leaves_decoding_to_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "_decoder.so"
    broken.write_bytes(b"of another machine")
    spec = type("Spec", (), {"origin": str(broken)})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    library.load_library.cache_clear()
    try:
        assert library.load_library() is None
    finally:
        library.load_library.cache_clear()


def test_who_needs_the_weights_of_one_model_does_not_wait_while_those_of_another_are_packed() -> None:
    cache: WeightCache[str] = WeightCache()
    packing, go_on = threading.Event(), threading.Event()

    def pack() -> str:
        packing.set()
        assert go_on.wait(60)
        return "slow"

    slow, fast = model_of(), model_of()
    thread = threading.Thread(target=cache.get, args=(slow, "half", pack))
    thread.start()
    assert packing.wait(60)

    finished = threading.Thread(target=lambda: results.append(cache.get(fast, "half", lambda: "fast")))
    results: list[str] = []
    finished.start()
    finished.join(10)

    assert results == ["fast"]
    go_on.set()
    thread.join()
    finished.join()


def test_weights_are_packed_once_and_again_when_they_change() -> None:
    model = model_of()
    first, second = new_decoder(model), new_decoder(model)
    assert isinstance(first, NativeDecoder)
    assert isinstance(second, NativeDecoder)
    assert first.weights is second.weights

    with torch.no_grad():
        model.model.ar_predict_layer.weight.add_(1)

    changed = new_decoder(model)
    assert isinstance(changed, NativeDecoder)
    assert changed.weights is not first.weights
