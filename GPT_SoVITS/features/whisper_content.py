"""Content features of nano: the encoder of Whisper base, 50 frames a second."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from GPT_SoVITS.errors import ModelError

SAMPLE_RATE = 16_000
FRAMES_PER_SECOND = 50
WIDTH = 512
WINDOW_SECONDS = 30
"""The encoder has no positions for more."""
PADDING_SECONDS = 1.0
"""Silence after each clip. The encoder was trained on audio padded to 30 s; ends sound like ends only before silence,
and one second of it is enough, at a tenth of the cost."""
POSITION_TABLE = Path(__file__).with_name("whisper_base_positions.npy")
"""File of (K, 512): the part of the features that depends on the position in the window alone, as K cosines."""
_STEP = SAMPLE_RATE // FRAMES_PER_SECOND


class ContentEncoder:
    """Whisper's encoder without its decoder. Training and speaking must use it in the same way, or tokens differ."""

    def __init__(self, model_folder: Path | str, threads: int = 1, *, max_callers: int = 1) -> None:
        """Open a model folder.

        Args:
            threads: Cores for each caller.
            max_callers: Callers on threads of their own that are served at once.

        Raises:
            ModelError: "missing_part".
        """
        import ctranslate2
        from faster_whisper.feature_extractor import FeatureExtractor

        try:
            # Not int8: its rounding depends on the processor, and a recording must give the same tokens anywhere.
            self.model = ctranslate2.models.Whisper(
                str(model_folder),
                device="cpu",
                compute_type="float32",
                intra_threads=threads,
                inter_threads=max_callers,
            )
        except (RuntimeError, ValueError) as error:
            raise ModelError("missing_part", f"No Whisper model opens from {model_folder}: {error}.") from error
        self.mel = FeatureExtractor()

    def encode(self, samples: np.ndarray, *, keep_position: bool = False) -> np.ndarray:
        """Encode (N,) float32 at 16 kHz -> (T, 512) float32 with T = N // 320, at the recording's own loudness.

        Every frame has mean 0 and deviation 1 over its channels, less the part that follows from its position in the
        window: that is 38 % of the variance, and with it speech shifted by half a second shares 19 % of its tokens,
        without it 87 %.

        Args:
            keep_position: Leave that part in; the table itself is made from such features.

        Raises:
            ModelError: "bad_audio" below one frame.
        """
        if len(samples) < _STEP:
            raise ModelError("bad_audio", f"{len(samples)} samples hold no frame of {_STEP}.")
        window = int((WINDOW_SECONDS - PADDING_SECONDS) * SAMPLE_RATE)
        features = []
        for start in range(0, len(samples), window):
            frames = self._encode_window(samples[start : start + window])
            frames = (frames - frames.mean(1, keepdims=True)) / frames.std(1, keepdims=True)
            if not keep_position:
                frames = frames - position_part(len(frames))
            features.append(frames)
        return np.concatenate(features)  # (T, 512)

    def _encode_window(self, samples: np.ndarray) -> np.ndarray:
        """Encode at most 29 s of samples -> (T, 512)."""
        import ctranslate2

        frames = len(samples) // _STEP
        padded = np.pad(samples.astype(np.float32), (0, int(PADDING_SECONDS * SAMPLE_RATE)))
        padded = padded[: (frames + int(PADDING_SECONDS * FRAMES_PER_SECOND)) * _STEP]
        mel = self.mel(padded, padding=0)  # (80, 2·(frames + padding))
        view = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel[None], dtype=np.float32))
        features: np.ndarray = np.array(self.model.encode(view))[0, :frames]  # (frames, 512)
        return features


def position_part(frames: int) -> np.ndarray:
    """Return (frames, 512): the part of the features of a window's first `frames` that is the same for all speech."""
    table = _position_table()
    features: np.ndarray = cosines(frames, len(table)) @ table
    return features


def cosines(frames: int, count: int) -> np.ndarray:
    """Return (frames, count) float32: the functions that the table of positions weighs."""
    position = (np.arange(frames) + 0.5) / (WINDOW_SECONDS * FRAMES_PER_SECOND)
    return np.cos(np.pi * np.outer(position, np.arange(count))).astype(np.float32)


@cache
def _position_table() -> np.ndarray:
    table: np.ndarray = np.load(POSITION_TABLE)
    return table
