"""The generator that OpenVINO computes: the sound of PyTorch's, faster."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from tiny_voices import VoiceFiles, write_tiny_voice
from torch import Tensor

from GPT_SoVITS.configs import load_config
from GPT_SoVITS.engine.warm_up import neutral_prompt
from GPT_SoVITS.pipeline import Pipeline, SamplingSettings, SynthesisRequest
from GPT_SoVITS.sovits.compiled_generator import (
    BUCKET,
    MOST_FRAMES,
    CompiledGenerator,
    compile_generator,
    has_fast_bfloat16,
    load_openvino,
)
from GPT_SoVITS.sovits.generator import Generator
from GPT_SoVITS.sovits.model import SoVITS
from GPT_SoVITS.synthesis.model_store import memory_of
from GPT_SoVITS.synthesis.waveform_decoder import WaveformDecoder

Compile = Callable[[Literal["f32", "bf16"]], CompiledGenerator]
needs_openvino = pytest.mark.skipif(load_openvino() is None, reason="OpenVINO is not installed (scripts/setup)")
ROW = SamplingSettings(early_stop_num=60, min_tokens=60)


@pytest.fixture(scope="module")
def generator() -> Generator:
    """Return v2's in its full size, with random weights whose sound follows from the latent: no layer drowns it."""
    torch.manual_seed(0)
    model = SoVITS.from_config(load_config("v2"), posterior=False).eval().requires_grad_(False).fold_weight_norm()
    for layer in model.dec.modules():
        if isinstance(layer, torch.nn.Conv1d | torch.nn.ConvTranspose1d):
            inputs = layer.in_channels * layer.kernel_size[0] / layer.stride[0]
            layer.weight.normal_(std=inputs**-0.5)
            if layer.bias is not None:
                layer.bias.zero_()
    assert isinstance(model.dec, Generator)
    model.dec.conv_post.weight.mul_(0.1)
    return model.dec


@pytest.fixture(scope="module")
def compiled(generator: Generator) -> Compile:
    def compile_as(precision: Literal["f32", "bf16"]) -> CompiledGenerator:
        network = CompiledGenerator(generator, precision)
        network.compile_for(1)
        return network

    return compile_as


@pytest.fixture
def without_openvino(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine for which it has no wheel."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    load_openvino.cache_clear()
    yield
    load_openvino.cache_clear()


@pytest.fixture(scope="module")
def tiny_v2(tmp_path_factory: pytest.TempPathFactory) -> VoiceFiles:
    return write_tiny_voice(tmp_path_factory.mktemp("v2"), "v2")


def latent(frames: int, seed: int = 1) -> Tensor:
    return torch.randn(1, 192, frames, generator=torch.Generator().manual_seed(seed))


def style(seed: int = 2) -> Tensor:
    return torch.randn(1, 512, 1, generator=torch.Generator().manual_seed(seed))


def loudness(wave: Tensor) -> Tensor:
    """Return the loudness of bands over time, logarithms (bands, frames)."""
    spectrum = torch.stft(wave.flatten(), 1024, 256, window=torch.hann_window(1024), return_complex=True).abs()
    return (spectrum[:512].unflatten(0, (64, 8)).square().mean(1) + 1e-4).log()


@needs_openvino
@torch.inference_mode()
@pytest.mark.parametrize("frames", [1, 2 * BUCKET, 2 * BUCKET + 1, MOST_FRAMES, MOST_FRAMES + 1])
def test_float32_is_the_sound_of_pytorch_at_every_length(generator: Generator, compiled: Compile, frames: int) -> None:
    expected = generator(latent(frames), style())

    wave = compiled("f32")(latent(frames), style())

    torch.testing.assert_close(wave, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


@needs_openvino
@torch.inference_mode()
def test_bfloat16_differs_from_float32_far_less_than_one_noise_from_another(
    generator: Generator, compiled: Compile
) -> None:
    frames = 60
    other = latent(frames) + 0.1 * latent(frames, seed=3)
    expected, another = generator(latent(frames), style()), generator(other, style())

    wave = compiled("bf16")(latent(frames), style())

    distance = (loudness(wave) - loudness(expected)).abs().mean()
    assert distance < 0.25 * (loudness(another) - loudness(expected)).abs().mean()
    assert distance < 0.1


@needs_openvino
@torch.inference_mode()
def test_a_row_of_a_batch_is_what_it_is_alone(compiled: Compile) -> None:
    network = compiled("f32")
    rows, lengths = torch.cat([latent(40), latent(40, seed=4)]), torch.tensor([40, 23])

    waves = network(rows, torch.cat([style(), style(5)]), lengths)

    assert torch.equal(waves[:1], network(latent(40), style()))
    alone = network(latent(40, seed=4)[:, :, :23], style(5))
    assert torch.equal(waves[1:, :, : alone.shape[2]], alone)


@needs_openvino
@torch.inference_mode()
def test_threads_that_share_a_generator_take_turns(compiled: Compile) -> None:
    network = compiled("f32")
    expected = [network(latent(20, seed), style()) for seed in range(8)]

    with ThreadPoolExecutor(4) as pool:
        waves = list(pool.map(lambda seed: network(latent(20, seed), style()), range(8)))

    assert all(torch.equal(wave, whole) for wave, whole in zip(waves, expected, strict=True))


@needs_openvino
def test_the_budget_counts_the_copy_of_the_weights(generator: Generator, compiled: Compile) -> None:
    numbers = sum(parameter.numel() for parameter in generator.parameters())
    plain, single, half = (
        sum(memory_of(network).values()) for network in (generator, compiled("f32"), compiled("bf16"))
    )

    assert single > plain + 4 * numbers
    assert single - half == 2 * numbers


def resident_mb() -> float:
    """Return how much memory the process takes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


@pytest.mark.slow
@needs_openvino
@torch.inference_mode()
def test_memory_does_not_grow_with_the_number_of_lengths(compiled: Compile) -> None:
    network = compiled("f32")
    for frames in range(BUCKET, MOST_FRAMES + 1, BUCKET):
        network(latent(frames), style())
    before = resident_mb()

    for frames in (9, 23, 41, 77, 90, 100, 121, 131, 150, 170):
        network(latent(frames), style())

    assert resident_mb() - before < 100


@needs_openvino
def test_bfloat16_is_for_processors_that_have_it_and_not_where_float32_was_set(generator: Generator) -> None:
    automatic, exact = (compile_generator(generator, exact=exact, threads=1) for exact in (False, True))

    assert automatic is not None
    assert exact is not None
    assert automatic.precision == ("bf16" if has_fast_bfloat16() else "f32")
    assert exact.precision == "f32"


@needs_openvino
def test_nothing_is_told_to_anybody() -> None:
    program = (
        "import sys; from GPT_SoVITS.sovits.compiled_generator import load_openvino; assert load_openvino();"
        "assert not [name for name, module in sys.modules.items() if module and 'openvino_telemetry' in name]"
    )
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=True)


def speak(files: VoiceFiles, precision: str, runtime: Literal["auto", "torch"]) -> tuple[np.ndarray, np.ndarray]:
    """Speak at once and in chunks."""
    pipeline = Pipeline.load(*files, precision=precision, runtime=runtime)
    request = SynthesisRequest("Good morning to all of you.", "en", neutral_prompt(pipeline), 3, sampling=ROW)
    (whole,) = pipeline.speak_batch([request])
    return whole.samples, np.concatenate([chunk.samples for chunk in pipeline.stream(request)])


@needs_openvino
def test_a_voice_speaks_and_streams_with_the_compiled_generator(tiny_v2: VoiceFiles) -> None:
    reference, exact = speak(tiny_v2, "fp32", "torch"), speak(tiny_v2, "fp32", "auto")

    for wave, expected in zip(exact, reference, strict=True):
        np.testing.assert_allclose(wave, expected, atol=1e-4)
    for precision in ("fp32", "auto"):
        for again, before in zip(speak(tiny_v2, precision, "auto"), speak(tiny_v2, precision, "auto"), strict=True):
            np.testing.assert_array_equal(again, before)


@pytest.mark.usefixtures("without_openvino")
def test_without_openvino_pytorch_speaks(tiny_v2: VoiceFiles) -> None:
    for with_auto, with_torch in zip(speak(tiny_v2, "auto", "auto"), speak(tiny_v2, "auto", "torch"), strict=True):
        np.testing.assert_array_equal(with_auto, with_torch)


def test_the_generator_of_nano_stays_with_pytorch_which_is_as_fast(tmp_path: Path) -> None:
    model = SoVITS.from_config(load_config("nano"), posterior=False)

    assert compile_generator(model.dec, exact=True, threads=1) is None


@needs_openvino
def test_a_voice_is_loaded_with_what_is_fastest_and_with_pytorch_where_that_was_set(tiny_v2: VoiceFiles) -> None:
    automatic, plain = (Pipeline.load(*tiny_v2, runtime=runtime) for runtime in ("auto", "torch"))

    assert isinstance(automatic.decoder, WaveformDecoder)
    assert isinstance(plain.decoder, WaveformDecoder)
    assert isinstance(automatic.decoder.sovits.dec, CompiledGenerator)
    assert isinstance(plain.decoder.sovits.dec, Generator)
