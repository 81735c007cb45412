from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from GPT_SoVITS.synthesis.samples import join_sentences, limit_peak, pause, to_int16

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


def test_the_original_wraps_full_scale_and_we_do_not():
    loud = np.array([1.0, -1.0], dtype=np.float32)

    assert to_int16(loud).tolist() == [32767, -32767]
    assert to_int16(loud, compat="reference").tolist() == [-32768, -32768]


@given(rate=st.sampled_from([24_000, 32_000, 48_000]), seconds=st.floats(0, 2))
def test_a_pause_lasts_as_long_as_it_says_at_every_rate(rate, seconds):
    assert abs(len(pause(seconds, rate)) / rate - seconds) <= 0.5 / rate


def test_the_original_counts_pauses_at_32_khz():
    assert len(pause(0.3, 24_000, compat="reference")) == 9600
    assert len(pause(0.3, 24_000)) == 7200


def test_a_pause_of_less_than_nothing_is_refused():
    with pytest.raises(ValueError, match=r"-0\.1"):
        pause(-0.1, 24_000)


@given(waves=st.lists(WAVES, max_size=4), interval=st.floats(0, 0.01))
def test_sentences_follow_one_another_in_order_each_with_its_pause(waves, interval):
    joined = join_sentences(waves, rate=24_000, interval=interval)

    silence = len(pause(interval, 24_000))
    assert joined.dtype == np.float32
    assert len(joined) == sum(len(wave) + silence for wave in waves)
    place = 0
    for wave in waves:
        assert np.array_equal(joined[place : place + len(wave)], limit_peak(wave))
        place += len(wave)
        assert not joined[place : place + silence].any()
        place += silence
