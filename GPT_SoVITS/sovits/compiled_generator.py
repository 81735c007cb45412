"""A generator that OpenVINO computes on a CPU, where it is installed; PyTorch's is the reference.

In bfloat16 a processor that multiplies it computes a HiFi-GAN in half the time or less, and the difference to float32
is far below that of another seed.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import threading
from functools import cache
from types import ModuleType
from typing import Any, Final, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.sovits.generator import Generator
from GPT_SoVITS.sovits.openvino_graphs import generator_graph

logger = logging.getLogger(__name__)

Runtime = Literal["auto", "torch"]
"""What computes generators on a CPU. auto: OpenVINO where it is installed and faster."""
BUCKET, MOST_FRAMES = 16, 128
"""Frames are padded to a multiple of the first, and longer latents cut into pieces of the second at most: every length
costs time and memory once, 10 MB and half a megabyte a frame at v2's size."""
FEWEST_FRAMES: Final = 32
BYTES_PER_SAMPLE: Final = 720
"""Of the activations that are kept for the longest piece."""


@cache
def load_openvino() -> ModuleType | None:
    """Return OpenVINO; None where it is not installed or does not run."""
    if importlib.util.find_spec("openvino") is None:
        return None
    # Importing OpenVINO would tell its makers that it was imported; without this package it cannot.
    sys.modules["openvino_telemetry"] = cast(ModuleType, None)
    try:
        openvino = importlib.import_module("openvino")
        importlib.import_module("openvino.opset13")
        openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except Exception as error:
        logger.warning("OpenVINO does not run here, so PyTorch computes all networks: %s", error)
        return None
    return openvino


def has_fast_bfloat16() -> bool:
    """Return whether OpenVINO computes faster in bfloat16 on this processor."""
    openvino = load_openvino()
    return openvino is not None and "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class CompiledGenerator(nn.Module):
    """A `Generator` that OpenVINO computes, row by row. Thread-safe."""

    def __init__(self, generator: Generator, precision: Literal["f32", "bf16"]) -> None:
        super().__init__()
        self.generator = generator
        self.hop, self.reach = generator.hop, generator.reach
        self.precision = precision
        self._request: Any = None
        self._lock = threading.Lock()

    @property
    def compiled_bytes(self) -> int:
        """What OpenVINO's own copy of the weights takes, and its activations."""
        weights = (2 if self.precision == "bf16" else 4) * sum(weight.numel() for weight in self.parameters())
        return weights + MOST_FRAMES * self.hop * BYTES_PER_SAMPLE

    def compile_for(self, threads: int) -> None:
        """Compile for so many threads, and for the length of a first chunk."""
        openvino = load_openvino()
        assert openvino is not None, "the caller has checked that it is there"
        options = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # all processes would pin themselves to the same cores
        }
        model = openvino.Core().compile_model(generator_graph(openvino, self.generator), "CPU", options)
        with self._lock:
            self._request = model.create_infer_request()
        latent, style = (
            torch.zeros(1, layer.in_channels, 1) for layer in (self.generator.conv_pre, self.generator.cond)
        )
        self(latent, style)

    @torch.inference_mode()
    def forward(self, z: Tensor, style: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Generate a waveform; see Generator."""
        counts = [z.shape[2]] * len(z) if lengths is None else lengths.tolist()
        waves = z.new_zeros(len(z), 1, z.shape[2] * self.hop)
        for row, count in enumerate(counts):
            begin = 0
            while begin < count:
                first = max(0, begin - self.reach)
                last = min(count, first + MOST_FRAMES)
                end = last if last == count else last - self.reach
                wave = self._generate(z[row : row + 1, :, first:last], style[row : row + 1])
                samples = wave[(begin - first) * self.hop : (end - first) * self.hop]
                waves[row, 0, begin * self.hop : end * self.hop] = samples
                begin = end
        return waves

    def _generate(self, latent: Tensor, style: Tensor) -> Tensor:
        """Generate the samples (N,) of a latent (1, C, T), and more."""
        frames = latent.shape[2]
        padding = max(-(-frames // BUCKET) * BUCKET, FEWEST_FRAMES) - frames
        mask = F.pad(latent.new_ones(1, 1, frames), (0, padding))
        inputs = [tensor.numpy() for tensor in (F.pad(latent, (0, padding)), style.contiguous(), mask)]
        with self._lock:  # the next result takes the place of this one
            return torch.from_numpy(self._request.infer(inputs)[0][0, 0].copy())


def compile_generator(generator: nn.Module, *, exact: bool, threads: int) -> CompiledGenerator | None:
    """Return a generator that OpenVINO computes; None where it cannot, or would gain nothing, as with nano's.

    Args:
        generator: The `dec` of a network on the CPU.
        exact: Compute in float32 also where bfloat16 is faster.
        threads: So many cores may be used.
    """
    if load_openvino() is None or not isinstance(generator, Generator):
        return None
    if any((size - rate) % 2 for rate, size in generator.upsampling):
        return None  # a frame becomes a number of samples that the mask does not know
    compiled = CompiledGenerator(generator, "bf16" if not exact and has_fast_bfloat16() else "f32")
    compiled.compile_for(threads)
    return compiled
