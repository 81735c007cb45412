"""How far generated speech is from what was said, by a frozen encoder of Whisper: so consonants become clear.

Spectra punish a vague consonant little, as it is short and its noise is random; the first layers of a recognizer hear
the difference.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from faster_whisper.feature_extractor import FeatureExtractor
from torch import Tensor, nn

FFT: Final = 400
HOP: Final = 160
LAYERS: Final = 4
"""Of the six of Whisper base: the last ones are trained to say words, not sounds."""
WIDTH: Final = 512
HEADS: Final = 8
DYNAMIC_RANGE: Final = 8.0
"""Decades of power below the loudest that the encoder hears."""
Layer = TypeVar("Layer", bound=nn.Module)

NUMPY_TYPES: Final = (np.float32, np.int8, np.int16, np.int32, np.float16)
"""By the number that CTranslate2 writes for a type."""


class ContentLoss:
    """The mean L1 distance of what each layer makes of generated and of recorded speech, over its deviation."""

    def __init__(self, model: Path) -> None:
        """Read the encoder of a folder of CTranslate2."""
        with (model / "model.bin").open("rb") as file:
            arrays = read_variables(file)
        self.encoder = ContentLayers(arrays).requires_grad_(False)

    def __call__(self, generated: Tensor, recorded: Tensor) -> Tensor:
        """Compare (B, N) at 16 kHz."""
        with torch.no_grad():
            targets, loudest = self.encoder(recorded, None)
        distances = [
            ((mine - target).float().abs().mean() / target.float().std())
            for mine, target in zip(self.encoder(generated, loudest)[0], targets, strict=True)
        ]
        return torch.stack(distances).mean()


class ContentLayers(nn.Module):
    """The first layers of Whisper's encoder (Radford et al. 2022)."""

    basis: Tensor
    window: Tensor

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        weights = {name.removeprefix("encoder/"): torch.from_numpy(a.astype(np.float32)) for name, a in arrays.items()}
        self.register_buffer("basis", torch.from_numpy(FeatureExtractor().mel_filters.astype(np.float32)))
        self.register_buffer("window", torch.hann_window(FFT))
        self.positions = nn.Parameter(weights["position_encodings/encodings"])
        self.convolutions = nn.ModuleList(
            _filled(nn.Conv1d(width, WIDTH, 3, stride, 1), weights, f"conv{number}")
            for number, width, stride in ((1, len(self.basis), 1), (2, WIDTH, 2))
        )
        self.layers = nn.ModuleList(ContentLayer(weights, f"layer_{number}") for number in range(LAYERS))

    def forward(self, wave: Tensor, loudest: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """Encode (B, N); `loudest` is the level (B, 1, 1) that quiet is relative to, the row's own by default.

        Returns:
            (B, T, W) of each layer, and `loudest`.
        """
        spectrum = torch.stft(wave, FFT, HOP, window=self.window, return_complex=True)[..., :-1]
        power = spectrum.real.square() + spectrum.imag.square()
        log = (self.basis @ power).clamp_min(1e-10).log10()
        loudest = log.amax(dim=(1, 2), keepdim=True) if loudest is None else loudest
        h = (torch.maximum(log, loudest - DYNAMIC_RANGE) + 4) / 4
        for convolution in self.convolutions:
            h = F.gelu(convolution(h))
        h = h.transpose(1, 2) + self.positions[: h.shape[2]].to(h)
        outputs = []
        for layer in self.layers:
            h = layer(h)
            outputs.append(h)
        return outputs, loudest


class ContentLayer(nn.Module):
    """A layer of a transformer, normalized before."""

    def __init__(self, weights: dict[str, Tensor], name: str) -> None:
        super().__init__()
        attention = f"{name}/self_attention"
        self.norm = _filled(nn.LayerNorm(WIDTH), weights, f"{attention}/layer_norm")
        self.enter = _filled(nn.Linear(WIDTH, 3 * WIDTH), weights, f"{attention}/linear_0")
        self.leave = _filled(nn.Linear(WIDTH, WIDTH), weights, f"{attention}/linear_1")
        self.norm_wide = _filled(nn.LayerNorm(WIDTH), weights, f"{name}/ffn/layer_norm")
        self.wide = _filled(nn.Linear(WIDTH, 4 * WIDTH), weights, f"{name}/ffn/linear_0")
        self.narrow = _filled(nn.Linear(4 * WIDTH, WIDTH), weights, f"{name}/ffn/linear_1")

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in self.enter(self.norm(x)).chunk(3, dim=2))
        x = x + self.leave(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.narrow(F.gelu(self.wide(self.norm_wide(x))))


def _filled(module: Layer, weights: dict[str, Tensor], name: str) -> Layer:
    """Fill a layer with its variables; CTranslate2 calls those of a normalization gamma and beta."""
    names = {"weight": "gamma", "bias": "beta"} if isinstance(module, nn.LayerNorm) else {}
    module.load_state_dict({key: weights[f"{name}/{names.get(key, key)}"] for key in module.state_dict()})
    return module


def read_variables(file: BinaryIO) -> dict[str, np.ndarray]:
    """Read the variables of a model of CTranslate2 (format 6) by name."""

    def number(kind: str) -> int:
        return int(struct.unpack(f"<{kind}", file.read(struct.calcsize(kind)))[0])

    def text() -> str:
        return file.read(number("H")).rstrip(b"\0").decode()

    number("I"), text(), number("I")  # versions of the format and of the model, and the model's kind between
    variables = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind = NUMPY_TYPES[number("B")]
        variables[name] = np.frombuffer(file.read(number("I")), kind).reshape(shape)
    return variables
