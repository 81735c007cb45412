"""Speaker embeddings by Resemblyzer's network, from its weights alone (its package needs a compiler to import)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import nn

from GPT_SoVITS.audio import frame_rms
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.mel import mel_bands

SAMPLE_RATE = 16_000
INSTALL = "pip install --no-deps Resemblyzer==0.1.4"
FFT, HOP, MELS = 400, 160, 40
"""25 ms windows every 10 ms."""
PARTIAL_FRAMES = 160
"""The network was trained on 1.6 s at a time."""
PARTIALS_PER_SECOND = 1.3
MIN_COVERAGE = 0.75
"""A last partial with less audio than this share of its length is left out."""
TARGET_DB = -30.0
"""Quieter recordings are raised to this RMS."""


class SpeakerEncoder(nn.Module):
    """Three LSTM layers over 40 mel bands, and a linear layer. Attribute names are the checkpoint's."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(MELS, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)
        self.basis = mel_bands(SAMPLE_RATE, FFT, MELS, 0.0, None)  # (40, 201)

    @classmethod
    def load(cls, weights: Path | None = None) -> SpeakerEncoder:
        """Load the weights of the installed package, which is not imported.

        Raises:
            ModelError: "missing_part" without it.
        """
        path = weights or find_weights()
        state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
        encoder = cls()
        # The file holds two numbers of the training loss besides.
        encoder.load_state_dict({name: value for name, value in state.items() if name in encoder.state_dict()})
        return encoder.eval()

    @torch.inference_mode()
    def embed(self, samples: np.ndarray) -> np.ndarray:
        """Encode (N,) float32 at 16 kHz -> (256,) unit vector.

        Raises:
            ModelError: "bad_audio" when nothing is audible.
        """
        voiced = drop_silences(raise_loudness(samples))
        starts = partial_starts(len(voiced))
        end = (starts[-1] + PARTIAL_FRAMES) * HOP
        mel = self.mel(np.pad(voiced, (0, max(0, end - len(voiced)))))  # (frames, 40)
        partials = torch.stack([mel[start : start + PARTIAL_FRAMES] for start in starts])  # (P, 160, 40)
        _, (hidden, _) = self.lstm(partials)  # (3, P, 256)
        vectors = torch.relu(self.linear(hidden[-1]))  # (P, 256)
        mean = nn.functional.normalize(vectors, dim=1).mean(0)
        return nn.functional.normalize(mean, dim=0).numpy()

    def mel(self, samples: np.ndarray) -> torch.Tensor:
        """Compute (N,) -> (1 + N // 160, 40), the power mel spectrogram, not its logarithm."""
        spectrum = torch.stft(
            torch.from_numpy(np.asarray(samples, dtype=np.float32)),
            FFT,
            HOP,
            window=torch.hann_window(FFT),
            center=True,
            pad_mode="constant",
            return_complex=True,
        )  # (201, frames)
        return (self.basis @ spectrum.abs().square()).T.contiguous()


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Return the cosine of two embeddings: about 0.6 for two speakers, above 0.8 for one."""
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def find_weights() -> Path:
    """Find the weights of the installed package. Raises ModelError("missing_part")."""
    spec = importlib.util.find_spec("resemblyzer")
    path = Path(spec.origin).parent / "pretrained.pt" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise ModelError("missing_part", "The weights that tell speakers apart are not installed.", hint=INSTALL)
    return path


def raise_loudness(samples: np.ndarray) -> np.ndarray:
    """Amplify a quiet recording to −30 dB RMS; a loud one stays."""
    power = float(np.square(samples, dtype=np.float64).mean()) if len(samples) else 0.0
    if power == 0.0:
        raise ModelError("bad_audio", "Nothing is audible, so there is no speaker to recognise.")
    gain = 10 ** ((TARGET_DB - 10 * np.log10(power)) / 20)
    return samples * gain if gain > 1.0 else samples


def drop_silences(samples: np.ndarray) -> np.ndarray:
    """Remove pauses: frames 35 dB below the loud ones that are 0.1 s or more from any louder frame."""
    hop = 3 * HOP  # 30 ms
    rms = frame_rms(samples, hop, 2 * hop)
    loud = rms > np.quantile(rms, 0.95) * 10 ** (-35 / 20)
    near = np.convolve(loud, np.ones(7), mode="same") > 0
    kept = np.repeat(near, hop)[: len(samples)]
    return samples[: len(kept)][kept]


def partial_starts(samples: int) -> list[int]:
    """Return the first mel frame of each of the overlapping partials that cover the recording; at least one."""
    frames = -(-(samples + 1) // HOP)
    step = round(SAMPLE_RATE / PARTIALS_PER_SECOND / HOP)
    starts = list(range(0, max(1, frames - PARTIAL_FRAMES + step + 1), step))
    coverage = (samples - starts[-1] * HOP) / (PARTIAL_FRAMES * HOP)
    return starts[:-1] if coverage < MIN_COVERAGE and len(starts) > 1 else starts
