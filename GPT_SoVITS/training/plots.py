"""Pictures of a training and of what it made, as PNG files."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson
from numpy.typing import NDArray

from GPT_SoVITS.audio import read_mono
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.mel import mel_bands

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MELS = 80
WINDOW_SECONDS = 0.04
HOP_SECONDS = 0.01
SILENCE_DB = -80.0
NOT_A_LOSS = ("epoch", "step", "seconds", "time", "fraction")


def plot_losses(metrics: Path, picture: Path) -> None:
    """Draw every number of a `metrics.jsonl` over its steps, one small diagram each, with its moving average.

    Raises:
        ModelError: "no_metrics": the file holds no numbers.
    """
    curves = read_curves(metrics)
    if not curves:
        raise ModelError("no_metrics", f"{metrics.name} holds no losses.")
    figure = _make_figure(width=9, height=1.8 * len(curves))
    axes = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (name, (steps, values)) in zip(axes, curves.items()):
        axis.plot(steps, values, linewidth=0.6, alpha=0.4)
        length = max(1, len(values) // 20)
        window = np.ones(length) / length
        axis.plot(np.convolve(steps, window, "valid"), np.convolve(values, window, "valid"), linewidth=1.4)
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("step")
    figure.savefig(picture, format="png")


def plot_mel(recording: Path, picture: Path) -> None:
    """Draw a recording's mel spectrogram in dB below its loudest point."""
    samples, rate = read_mono(recording)
    figure = _make_figure(width=9, height=3)
    axis = figure.subplots()
    image = axis.imshow(
        mel_spectrogram(samples, rate),
        origin="lower",
        aspect="auto",
        vmin=SILENCE_DB,
        vmax=0.0,
        extent=(0.0, len(samples) / rate, 0, MELS),
    )
    axis.set_xlabel("s")
    axis.set_ylabel("mel band")
    figure.colorbar(image, label="dB")
    figure.savefig(picture, format="png")


def mel_spectrogram(samples: NDArray[np.float32], rate: int) -> NDArray[np.floating]:
    """Compute the mel spectrogram (80, frames) of samples (N,), in dB below the loudest point, -80 at least."""
    window, hop = round(WINDOW_SECONDS * rate), round(HOP_SECONDS * rate)
    padded = np.pad(samples, (window // 2, window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]  # (frames, window)
    power = np.abs(np.fft.rfft(frames * np.hanning(window))) ** 2
    mel = mel_bands(rate, window, MELS, 0.0, None).numpy() @ power.T  # (80, frames)
    loudest = max(float(mel.max()), 1e-10)
    decibels: NDArray[np.floating] = 10 * np.log10(np.maximum(mel, 1e-12) / loudest)
    return np.maximum(decibels, SILENCE_DB)


def read_curves(metrics: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Return (steps, values) of every number in the file by name; its last line may be half-written."""
    curves: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for number, line in enumerate(metrics.read_bytes().splitlines(), start=1):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        for name, value in row.items():
            if name not in NOT_A_LOSS and isinstance(value, int | float):
                curves[name][0].append(float(row.get("step", number)))
                curves[name][1].append(float(value))
    return dict(curves)


def _make_figure(*, width: float, height: float) -> Figure:
    # Not pyplot: it keeps every figure, and asks for a display.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")
