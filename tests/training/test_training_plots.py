"""Pictures are drawn without a display, and from half-written metrics too."""

from __future__ import annotations

import orjson
import pytest

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.training.plots import mel_spectrogram, plot_losses, plot_mel, read_curves

PNG = b"\x89PNG\r\n\x1a\n"


def test_losses_are_drawn_from_a_file_that_is_still_written(tmp_path):
    rows = [{"epoch": 1, "step": step, "loss": 3 / step, "mel": 1.0, "note": "warm"} for step in range(1, 41)]
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_bytes(b"\n".join(map(orjson.dumps, rows)) + b'\n{"epoch": 1, "st')

    plot_losses(metrics, tmp_path / "loss.png")

    assert (tmp_path / "loss.png").read_bytes().startswith(PNG)
    curves = read_curves(metrics)
    assert set(curves) == {"loss", "mel"}
    assert curves["loss"][0][-1] == 40.0


def test_metrics_without_a_number_are_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b"")

    with pytest.raises(ModelError, match="holds no losses"):
        plot_losses(tmp_path / "metrics.jsonl", tmp_path / "loss.png")


def test_a_recording_s_mel_is_drawn(voice_file, tmp_path):
    plot_mel(voice_file, tmp_path / "mel.png")

    assert (tmp_path / "mel.png").read_bytes().startswith(PNG)


def test_the_loudest_point_is_zero_decibels(voice):
    mel = mel_spectrogram(voice, 16_000)

    assert mel.shape[0] == 80
    assert mel.max() == 0.0
    assert mel.min() >= -80.0
