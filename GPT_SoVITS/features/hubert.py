"""Content features of v1 to v4: the last hidden state of HuBERT base (Hsu et al. 2021; specification s2-sovits §20)."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.pretrained import fill, in_half, read_config, read_weights

logger = logging.getLogger(__name__)

SAMPLE_RATE = 16_000
FEWEST_SAMPLES = 400
"""What the convolutions reach over for one frame; they step by 320."""
FRAMES_AT_ONCE = 100
"""Two seconds, over which the convolutions take 30 MB."""
WEIGHT_NORM = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
"""Names of the positional convolution in files of old -> as torch has them now."""


class Hubert:
    """HuBERT for inference. Its feature extractor's normalisation is not applied, as it never was in training.

    Sound for training comes scaled (`dataset.loudness.content_audio`), sound for speaking in [-1, 1]; the norm after
    the first convolution takes the scale out again.
    """

    def __init__(self, model: nn.Module, *, device: torch.device | str = "cpu", half: bool | None = None) -> None:
        self.device = torch.device(device)
        self.half = in_half(device, half)
        self.width: int = model.config.hidden_size
        _fold_weight_norm(model)
        self.in_parts = model.config.feat_extract_norm == "group"
        if self.in_parts:
            model.feature_extractor = Convolutions(model.feature_extractor.conv_layers)
        self.model = model.eval().to(self.device, torch.float16 if self.half else torch.float32)

    @classmethod
    def load(cls, folder: Path, *, device: torch.device | str = "cpu", half: bool | None = None) -> Hubert:
        """From a folder with `config.json` and `model.safetensors` or `pytorch_model.bin`; half precision on CUDA.

        Raises ModelError "missing_part" or "bad_checkpoint".
        """
        # Slow to import (1.3 s and 155 MB), so only once it is needed.
        from transformers.models.hubert.modeling_hubert import HubertConfig, HubertModel

        state = {current_name(name): tensor for name, tensor in read_weights(folder).items()}
        config = HubertConfig.from_dict(read_config(folder))
        with torch.device("meta"):
            model = HubertModel(config)
        # Only its training masks frames, and some files leave out what it masks them with.
        state.setdefault("masked_spec_embed", torch.zeros(config.hidden_size))
        fill(model, state, folder)
        return cls(model, device=device, half=half)

    def features_of(self, samples: np.ndarray | Tensor) -> Tensor:
        """(N,) float at 16 kHz -> (1, D, (N - 80) // 320) float32 on the model's device.

        What overflows in half precision is computed again in float32. Raises ModelError "recording_too_short", and
        "bad_audio" for sound that gives no numbers.
        """
        wave = torch.as_tensor(samples, dtype=torch.float32).reshape(1, -1)
        if wave.shape[1] < FEWEST_SAMPLES:
            raise ModelError(
                "recording_too_short",
                f"Content features need {FEWEST_SAMPLES} samples at {SAMPLE_RATE} Hz; there are {wave.shape[1]}.",
            )
        features = self._run(wave)
        if self.half and not features.isfinite().all():
            logger.warning("Content features overflowed in half precision; they are computed again in float32.")
            features = self._run_in_float32(wave)
        if not features.isfinite().all():
            raise ModelError("bad_audio", "The recording gives content features that are no numbers.")
        return features

    @torch.inference_mode()
    def _run(self, wave: Tensor) -> Tensor:
        dtype = torch.float32 if self.in_parts else self.model.dtype
        hidden = self.model(wave.to(self.device, dtype)).last_hidden_state  # (1, T, D)
        return hidden.float().transpose(1, 2)

    def _run_in_float32(self, wave: Tensor) -> Tensor:
        self.model.float()  # without loss: the half-precision weights are a part of what float32 can say
        try:
            return self._run(wave)
        finally:
            self.model.half()


class Convolutions(nn.Module):
    """HuBERT's convolutions over a stretch at a time, which gives the same numbers for a tenth of the memory.

    Only the norm after the first one needs the whole recording, and no more of it than the covariance of the samples
    under the kernel: mean and variance of a linear map follow from those of its input.
    """

    def __init__(self, layers: nn.ModuleList) -> None:
        """`layers` are those of transformers' feature encoder with `feat_extract_norm` "group"."""
        super().__init__()
        self.first, *others = layers
        self.others = nn.ModuleList(others)
        self.reach, self.step = 1, 1
        """Samples that one frame hears, and from one frame to the next."""
        for layer in layers:
            self.reach += (layer.conv.kernel_size[0] - 1) * self.step
            self.step *= layer.conv.stride[0]

    def forward(self, wave: Tensor) -> Tensor:
        """wave (1, N) float32 -> (1, C, frames) in the precision of the weights."""
        frames = (wave.shape[1] - self.reach) // self.step + 1
        weight, bias = self._first_with_norm(wave)
        stretches = [range(start, min(start + FRAMES_AT_ONCE, frames)) for start in range(0, frames, FRAMES_AT_ONCE)]
        return torch.cat([self._stretch(wave, stretch, weight, bias) for stretch in stretches], dim=2)

    def _stretch(self, wave: Tensor, frames: range, weight: Tensor, bias: Tensor) -> Tensor:
        part = wave[:, None, frames[0] * self.step : frames[-1] * self.step + self.reach]
        hidden = F.conv1d(part, weight, bias, stride=self.first.conv.stride)
        hidden = self.first.activation(hidden).to(self.first.conv.weight.dtype)
        for layer in self.others:
            hidden = layer(hidden)
        return hidden

    def _first_with_norm(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (C, 1, K) and bias (C,) of the first convolution and its norm in one, in float32.

        A bias before the norm would change nothing.
        """
        convolution, norm = self.first.conv, self.first.layer_norm
        heard = wave[0].double().unfold(0, convolution.kernel_size[0], convolution.stride[0])  # (N', K)
        mean = heard.mean(dim=0)
        spread = heard - mean
        weight = convolution.weight[:, 0].double()  # (C, K)
        variance = ((weight @ (spread.T @ spread / len(heard))) * weight).sum(dim=1)
        scale = norm.weight.double() / (variance + norm.eps).sqrt()
        bias = norm.bias.double() - scale * (weight @ mean)
        return (scale[:, None] * weight)[:, None].float(), bias.float()


def frames_of(samples: int) -> int:
    """How many frames `features_of` makes of so many samples."""
    return max(0, (samples - 80) // 320)


def current_name(name: str) -> str:
    """A name in a file -> in the model: without the prefix of a model with a head, weight norm as torch has it now."""
    name = name.removeprefix("hubert.")
    stem, _, last = name.rpartition(".")
    return f"{stem}.{WEIGHT_NORM[last]}" if last in WEIGHT_NORM else name


def _fold_weight_norm(model: nn.Module) -> None:
    """Multiply the weight norm out once instead of at every call."""
    convolution = model.encoder.pos_conv_embed.conv
    if nn.utils.parametrize.is_parametrized(convolution, "weight"):
        nn.utils.parametrize.remove_parametrizations(convolution, "weight")
    convolution.requires_grad_(False)
