"""Noise is removed, and nothing else."""

from __future__ import annotations

import numpy as np

from GPT_SoVITS.audio import loudness, read_mono, write_wav
from GPT_SoVITS.dataset.denoise import Denoiser

RATE = 16_000


def hiss(seconds: float, amplitude: float = 0.05) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(round(seconds * RATE)) * amplitude).astype(np.float32)


def test_noise_is_taken_out_and_the_words_stay_in_their_place(voice_file, voice, tmp_path):
    noisy = np.concatenate([hiss(1.0, 0.02), voice + hiss(len(voice) / RATE, 0.02)[: len(voice)]])
    write_wav(voice_file, noisy, RATE)

    Denoiser().denoise(voice_file, tmp_path / "clean.wav")

    cleaned, rate = read_mono(tmp_path / "clean.wav")
    assert (rate, len(cleaned)) == (RATE, len(noisy))
    assert loudness(cleaned[RATE // 2 : RATE]) < loudness(noisy[RATE // 2 : RATE]) - 15
    assert np.corrcoef(cleaned[RATE:], voice)[0, 1] > 0.97


def test_what_one_recording_taught_the_denoiser_is_forgotten_for_the_next(voice):
    denoiser = Denoiser()
    piece = voice[:RATE]

    first = denoiser.clean(piece, RATE)
    denoiser.clean(hiss(1.0, 0.3), RATE)

    np.testing.assert_array_equal(denoiser.clean(piece, RATE), first)
