"""Content features: what is said, at 50 frames a second, from the encoder of Whisper base (the `nano` recipe)."""

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
"""Silence after each clip. The encoder learnt on sound padded to 30 s; its ends sound like ends only before silence,
and one second of it does at a tenth of the cost."""
POSITIONS = Path(__file__).with_name("whisper_base_positions.npy")
"""(K, 512): what the features of base hold of the place in the window alone, as a sum of K cosines over its 30 s."""
_STEP = SAMPLE_RATE // FRAMES_PER_SECOND


class ContentEncoder:
    """Whisper's encoder alone. Training and speaking must use it in this one way, or the tokens mean other things."""

    def __init__(self, model_folder: Path | str, threads: int = 1, *, side_by_side: int = 1) -> None:
        """`side_by_side`: how many callers on threads of their own are served at once, each by `threads` cores."""
        import ctranslate2
        from faster_whisper.feature_extractor import FeatureExtractor

        try:
            # Not int8: its rounding depends on the processor, and a recording must give the same tokens anywhere.
            self.model = ctranslate2.models.Whisper(
                str(model_folder),
                device="cpu",
                compute_type="float32",
                intra_threads=threads,
                inter_threads=side_by_side,
            )
        except (RuntimeError, ValueError) as error:
            raise ModelError("missing_part", f"No Whisper model opens from {model_folder}: {error}.") from error
        self.mel = FeatureExtractor()

    def encode(self, samples: np.ndarray, *, keep_position: bool = False) -> np.ndarray:
        """(N,) float32 at 16 kHz -> (T, 512) float32 with T = N // 320: each clip by itself, at its own loudness.

        Every frame has mean 0 and deviation 1 over its channels, less what follows from its place in the window: that
        is 38 % of the variance, and with it speech heard half a second later shares 19 % of its tokens, without it
        87 %. `keep_position` leaves it in; the table itself is made from such features.
        """
        if len(samples) < _STEP:
            raise ModelError("bad_audio", f"{len(samples)} samples hold no frame of {_STEP}.")
        window = int((WINDOW_SECONDS - PADDING_SECONDS) * SAMPLE_RATE)
        pieces = [self._encode_window(samples[start : start + window]) for start in range(0, len(samples), window)]
        pieces = [(piece - piece.mean(1, keepdims=True)) / piece.std(1, keepdims=True) for piece in pieces]
        if not keep_position:
            pieces = [piece - position_part(len(piece)) for piece in pieces]
        return np.concatenate(pieces)  # (T, 512)

    def _encode_window(self, samples: np.ndarray) -> np.ndarray:
        import ctranslate2

        frames = len(samples) // _STEP
        padded = np.pad(samples.astype(np.float32), (0, int(PADDING_SECONDS * SAMPLE_RATE)))
        padded = padded[: (frames + int(PADDING_SECONDS * FRAMES_PER_SECOND)) * _STEP]
        mel = self.mel(padded, padding=0)  # (80, 2·(frames + padding))
        view = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel[None], dtype=np.float32))
        return np.array(self.model.encode(view))[0, :frames]  # (frames, 512)


def position_part(frames: int) -> np.ndarray:
    """(frames, 512): the part of the first `frames` of a window that is there whatever is said."""
    table = _table()
    return cosines(frames, len(table)) @ table


def cosines(frames: int, count: int) -> np.ndarray:
    """(frames, count) float32: the functions that the table of positions weighs."""
    place = (np.arange(frames) + 0.5) / (WINDOW_SECONDS * FRAMES_PER_SECOND)
    return np.cos(np.pi * np.outer(place, np.arange(count))).astype(np.float32)


@cache
def _table() -> np.ndarray:
    return np.load(POSITIONS)
