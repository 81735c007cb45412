"""Peaks and 16-bit samples of what is spoken."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from GPT_SoVITS.audio import limit_peak, to_int16

WAVES = arrays(np.float32, st.integers(0, 50), elements=st.floats(-4, 4, width=32))


@given(wave=WAVES)
def test_a_peak_is_limited_and_nothing_is_made_louder(wave):
    limited = limit_peak(wave)

    assert np.abs(limited).max(initial=0) <= 1.0
    assert (np.abs(limited) <= np.abs(wave)).all()
    if np.abs(wave).max(initial=0) <= 1:
        assert np.array_equal(limited, wave)


@given(wave=WAVES)
def test_no_sample_changes_its_sign_on_the_way_to_int16(wave):
    samples = to_int16(wave)

    assert samples.dtype == np.int16
    assert (samples[wave >= 0] >= 0).all()
    assert (samples[wave <= 0] <= 0).all()


@given(wave=arrays(np.float32, st.integers(1, 50), elements=st.floats(-1, 1, width=32)))
def test_int16_is_within_half_a_step(wave):
    assert np.abs(to_int16(wave) - wave.astype(np.float64) * 32767).max() <= 0.5 + 1e-3


def test_full_scale_does_not_wrap_as_it_does_upstream():
    assert to_int16(np.array([1.0, -1.0], dtype=np.float32)).tolist() == [32767, -32767]
