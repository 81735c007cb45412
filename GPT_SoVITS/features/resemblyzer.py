"""Who speaks: Resemblyzer's d-vector, from its weights alone (its package needs a compiler to import)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import nn

from GPT_SoVITS.audio import frame_rms
from GPT_SoVITS.errors import ModelError

SAMPLE_RATE = 16_000
INSTALL = "pip install --no-deps Resemblyzer==0.1.4"
FFT, HOP, MELS = 400, 160, 40
"""25 ms windows every 10 ms."""
PARTIAL_FRAMES = 160
"""The network learnt on 1.6 s at a time."""
PARTIALS_PER_SECOND = 1.3
MIN_COVERAGE = 0.75
"""A last partial with less sound than this is left out."""
TARGET_DB = -30.0
"""Quieter recordings are raised to this RMS."""


class SpeakerEncoder(nn.Module):
    """Three LSTM layers over 40 mels, and a linear layer. Attribute names are the checkpoint's."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(MELS, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)
        self.basis = torch.from_numpy(mel_basis(SAMPLE_RATE, FFT, MELS))  # (40, 201)

    @classmethod
    def load(cls, weights: Path | None = None) -> SpeakerEncoder:
        """From the installed package, which is not imported; raises ModelError "missing_part" without it."""
        path = weights or find_weights()
        state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
        encoder = cls()
        # Two numbers of the training loss lie beside the network.
        encoder.load_state_dict({name: value for name, value in state.items() if name in encoder.state_dict()})
        return encoder.eval()

    @torch.inference_mode()
    def embed(self, samples: np.ndarray) -> np.ndarray:
        """(N,) float32 at 16 kHz -> (256,) unit vector. Raises ModelError "bad_audio" when nothing is audible."""
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
        """(N,) -> (1 + N // 160, 40) power mel spectrogram, not its logarithm."""
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
    """Cosine of two embeddings: about 0.6 between strangers, above 0.8 for one speaker."""
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def find_weights() -> Path:
    """Where the installed package keeps its weights."""
    found = importlib.util.find_spec("resemblyzer")
    path = Path(found.origin).parent / "pretrained.pt" if found and found.origin else None
    if path is None or not path.is_file():
        raise ModelError("missing_part", "The weights that tell speakers apart are not installed.", hint=INSTALL)
    return path


def raise_loudness(samples: np.ndarray) -> np.ndarray:
    """Bring a quiet recording up to −30 dB RMS; a loud one stays."""
    power = float(np.square(samples, dtype=np.float64).mean()) if len(samples) else 0.0
    if power == 0.0:
        raise ModelError("bad_audio", "Nothing is audible, so there is no speaker to recognise.")
    gain = 10 ** ((TARGET_DB - 10 * np.log10(power)) / 20)
    return samples * gain if gain > 1.0 else samples


def drop_silences(samples: np.ndarray) -> np.ndarray:
    """Without the pauses: frames 35 dB below the loud ones that lie 0.1 s or more from any louder frame."""
    hop = 3 * HOP  # 30 ms
    rms = frame_rms(samples, hop, 2 * hop)
    loud = rms > np.quantile(rms, 0.95) * 10 ** (-35 / 20)
    near = np.convolve(loud, np.ones(7), mode="same") > 0
    kept = np.repeat(near, hop)[: len(samples)]
    return samples[: len(kept)][kept]


def partial_starts(samples: int) -> list[int]:
    """First mel frames of the overlapping partials that cover the recording; at least one."""
    frames = -(-(samples + 1) // HOP)
    step = round(SAMPLE_RATE / PARTIALS_PER_SECOND / HOP)
    starts = list(range(0, max(1, frames - PARTIAL_FRAMES + step + 1), step))
    coverage = (samples - starts[-1] * HOP) / (PARTIAL_FRAMES * HOP)
    return starts[:-1] if coverage < MIN_COVERAGE and len(starts) > 1 else starts


def mel_basis(rate: int, fft: int, bands: int) -> np.ndarray:
    """(bands, fft // 2 + 1) triangles of equal area on Slaney's mel scale, up to half the rate."""
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(rate / 2), bands + 2))
    frequencies = np.linspace(0.0, rate / 2, fft // 2 + 1)
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    area = 2.0 / (edges[2:] - edges[:-2])
    return (np.maximum(0.0, np.minimum(rising, falling)) * area[:, None]).astype(np.float32)


def _hz_to_mel(frequency: float) -> float:
    """Linear below 1 kHz, 27 mels a factor of 6.4 above."""
    return frequency * 3 / 200 if frequency < 1000 else 15 + 27 * np.log(frequency / 1000) / np.log(6.4)


def _mel_to_hz(mels: np.ndarray) -> np.ndarray:
    return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))
