"""Content features of v1 to v4: the last hidden state of HuBERT base (Hsu et al. 2021; specification s2-sovits §20)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.checkpoints.pretrained import (
    assign_weights,
    find_weights,
    in_float32,
    read_config,
    read_state,
    use_half,
)
from GPT_SoVITS.errors import ModelError

if TYPE_CHECKING:
    from transformers.models.hubert.modeling_hubert import HubertGroupNormConvLayer, HubertModel

logger = logging.getLogger(__name__)

SAMPLE_RATE = 16_000
MIN_SAMPLES = 400
"""Receptive field of one frame; frames are 320 samples apart."""
BLOCK_FRAMES = 100
"""Two seconds, for which the convolutions take 30 MB."""
WEIGHT_NORM = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
"""Names of the positional convolution in old files -> as torch has them now."""


class Hubert:
    """HuBERT for inference. Its feature extractor's normalization is not applied, as it never was in training.

    Audio for training comes scaled (`dataset.loudness.content_audio`), audio for speaking in [-1, 1]; the norm after
    the first convolution removes the scale again.
    """

    def __init__(self, model: HubertModel, *, device: torch.device | str = "cpu", half: bool | None = None) -> None:
        self.device = torch.device(device)
        self.half = use_half(device, half)
        self.width = int(model.config.hidden_size)
        convolution = model.encoder.pos_conv_embed.conv
        if nn.utils.parametrize.is_parametrized(convolution, "weight"):  # multiplied out once, not at every call
            nn.utils.parametrize.remove_parametrizations(convolution, "weight")
        convolution.requires_grad_(False)
        self.blockwise = model.config.feat_extract_norm == "group"
        if self.blockwise:
            convolutions = BlockwiseConvolutions(model.feature_extractor.conv_layers)
            model.feature_extractor = convolutions  # type: ignore[assignment]
        self.model = model
        nn.Module.eval(model)
        nn.Module.to(model, self.device, torch.float16 if self.half else torch.float32)

    @classmethod
    def load(cls, folder: Path, *, device: torch.device | str = "cpu", half: bool | None = None) -> Hubert:
        """Load a folder with `config.json` and `model.safetensors` or `pytorch_model.bin`; half precision on CUDA.

        Raises:
            ModelError: "missing_part" or "bad_checkpoint".
        """
        # Slow to import (1.3 s and 155 MB), so only once it is needed.
        from transformers.models.hubert.configuration_hubert import HubertConfig
        from transformers.models.hubert.modeling_hubert import HubertModel

        state = {current_name(name): tensor for name, tensor in read_state(find_weights(folder)).items()}
        config = HubertConfig.from_dict(read_config(folder / "config.json"))
        with torch.device("meta"):
            model = HubertModel(config)
        # Only its training masks frames, and some files leave out what it masks them with.
        state.setdefault("masked_spec_embed", torch.zeros(config.hidden_size))
        assign_weights(model, in_float32(state), source=str(folder))
        return cls(model, device=device, half=half)

    def features_of(self, samples: np.ndarray | Tensor) -> Tensor:
        """Encode (N,) samples at 16 kHz -> (1, D, (N - 80) // 320) float32 on the model's device.

        What overflows in half precision is computed again in float32.

        Raises:
            ModelError: "recording_too_short"; "bad_audio" when the features are no numbers.
        """
        wave = torch.as_tensor(samples, dtype=torch.float32).reshape(1, -1)
        if wave.shape[1] < MIN_SAMPLES:
            raise ModelError(
                "recording_too_short",
                f"Content features need {MIN_SAMPLES} samples at {SAMPLE_RATE} Hz; there are {wave.shape[1]}.",
            )
        features = self._run(wave)
        if self.half and not features.isfinite().all():
            logger.warning("Content features overflowed in half precision; they are computed again in float32.")
            nn.Module.float(self.model)  # without loss: float32 has all values of half precision
            try:
                features = self._run(wave)
            finally:
                nn.Module.half(self.model)
        if not features.isfinite().all():
            raise ModelError("bad_audio", "The recording gives content features that are no numbers.")
        return features

    @torch.inference_mode()
    def _run(self, wave: Tensor) -> Tensor:
        """Encode wave (1, N) -> (1, D, T) float32."""
        dtype = torch.float32 if self.blockwise else self.model.dtype
        hidden: Tensor = self.model(wave.to(self.device, dtype)).last_hidden_state  # (1, T, D)
        return hidden.float().transpose(1, 2)


class BlockwiseConvolutions(nn.Module):
    """HuBERT's convolutions over a block of frames at a time: the same numbers for a tenth of the memory.

    Only the norm after the first one needs the whole recording, and no more of it than the covariance of the samples
    under the kernel: mean and variance of a linear map follow from those of its input.
    """

    def __init__(self, layers: nn.ModuleList) -> None:
        """Take the layers of transformers' feature encoder with `feat_extract_norm` "group"."""
        super().__init__()
        first, *others = layers
        self.first = cast("HubertGroupNormConvLayer", first)
        self.others = nn.ModuleList(others)
        self.reach, self.step = 1, 1
        """Samples that one frame is computed from, and from one frame to the next."""
        for layer in layers:
            convolution = layer.conv
            assert isinstance(convolution, nn.Conv1d)
            self.reach += (convolution.kernel_size[0] - 1) * self.step
            self.step *= convolution.stride[0]

    def forward(self, wave: Tensor) -> Tensor:
        """Convolve wave (1, N) float32 -> (1, C, frames) in the precision of the weights."""
        frames = (wave.shape[1] - self.reach) // self.step + 1
        weight, bias = self._normalized_first_layer(wave)
        blocks = []
        for start in range(0, frames, BLOCK_FRAMES):
            end = min(start + BLOCK_FRAMES, frames)
            samples = wave[:, None, start * self.step : (end - 1) * self.step + self.reach]
            hidden = F.conv1d(samples, weight, bias, stride=self.first.conv.stride)
            hidden = self.first.activation(hidden).to(self.first.conv.weight.dtype)
            for layer in self.others:
                hidden = layer(hidden)
            blocks.append(hidden)
        return torch.cat(blocks, dim=2)

    def _normalized_first_layer(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        """Compute weight (C, 1, K) and bias (C,) of the first convolution and its norm in one, in float32.

        A bias before the norm would change nothing.
        """
        convolution, norm = self.first.conv, self.first.layer_norm
        windows = wave[0].double().unfold(0, convolution.kernel_size[0], convolution.stride[0])  # (N', K)
        mean = windows.mean(dim=0)
        spread = windows - mean
        weight = convolution.weight[:, 0].double()  # (C, K)
        variance = ((weight @ (spread.T @ spread / len(windows))) * weight).sum(dim=1)
        scale = norm.weight.double() / (variance + norm.eps).sqrt()
        bias = norm.bias.double() - scale * (weight @ mean)
        return (scale[:, None] * weight)[:, None].float(), bias.float()


def current_name(name: str) -> str:
    """Return a name of a file as the model has it: without the prefix of a model with a head, weight norm as today."""
    name = name.removeprefix("hubert.")
    stem, _, last = name.rpartition(".")
    return f"{stem}.{WEIGHT_NORM[last]}" if last in WEIGHT_NORM else name
