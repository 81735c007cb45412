"""The decoder in C++ against PyTorch's, with every set of kernels that this processor can run."""

from __future__ import annotations

import copy

import pytest
import torch
from gpt_generation import generate_seeded

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.continuous_batching import ContinuousBatch
from GPT_SoVITS.gpt.decoder import GenerationInput, TorchDecoder
from GPT_SoVITS.gpt.decoder_choice import new_decoder
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.native import library
from GPT_SoVITS.gpt.native.decoder import NativeDecoder
from GPT_SoVITS.gpt.native.weights import Kind, pack_native_weights
from GPT_SoVITS.gpt.sampling import SamplingSettings

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


def model_of(width: int = 128, heads: int = 4, pointers: tuple[tuple[int, int], ...] = ()) -> Text2Semantic:
    """Random weights that half precision holds exactly; a vocabulary that fills no whole panel."""
    torch.manual_seed(width)
    sizes = {"embedding_dim": width, "hidden_dim": width, "head": heads, "n_layer": 3, "vocab_size": 65, "EOS": 64}
    model = Text2Semantic.from_config(
        {"model": sizes | {"phoneme_vocab_size": 732, "dropout": 0, "pointers": pointers}}
    ).eval()
    if pointers:
        model.model.ar_pointer_tokens.normal_()
        model.model.ar_pointer_moving.normal_()
    return model.half().float()


MODEL = model_of()


def halved(model: Text2Semantic) -> Text2Semantic:
    return copy.deepcopy(model).half()


def row(seed: int) -> GenerationInput:
    """One of some starts of different lengths, with and without features and prompt."""
    generator = torch.Generator().manual_seed(seed)
    length = int(torch.randint(3, 40, (1,), generator=generator))
    phones = torch.randint(0, 732, (length,), generator=generator)
    bert = torch.randn(1024, length, generator=generator) if seed % 3 else None
    prompt = torch.randint(0, 64, (int(torch.randint(1, 30, (1,), generator=generator)),), generator=generator)
    return GenerationInput(phones, bert, prompt if seed % 4 else None)


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


def test_the_native_decoder_is_taken_where_it_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(ContinuousBatch(MODEL).decoder, NativeDecoder)
    assert isinstance(new_decoder(MODEL, "int8"), NativeDecoder)
    assert isinstance(new_decoder(MODEL, "bf16"), TorchDecoder)
    assert isinstance(new_decoder(model_of(96, 4)), TorchDecoder), "no whole groups"

    monkeypatch.setattr("GPT_SoVITS.gpt.decoder_choice.load_library", lambda: None)
    assert isinstance(new_decoder(MODEL), TorchDecoder)
    with pytest.raises(ModelError, match="int8 needs the native decoder"):
        new_decoder(MODEL, "int8")


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
