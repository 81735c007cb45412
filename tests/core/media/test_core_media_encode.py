"""Every format that speech is sent in can be opened again, streamed or whole."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from common.audio_formats import AUDIO_FORMATS, MEDIA_TYPES
from core.media.decode import probe
from core.media.encode import Encoder, encode, read_wav, wav_header

RATES = (16_000, 24_000, 32_000, 40_000, 48_000)
COMPRESSED = ("flac", "mp3", "opus", "aac")


def tone(seconds: float, rate: int) -> np.ndarray:
    return (np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate) * 12_000).astype(np.int16)


def decoded(data: bytes) -> tuple[np.ndarray, int]:
    with av.open(io.BytesIO(data), "r") as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    samples: np.ndarray = np.concatenate(frames)
    return (samples / 32768 if samples.dtype.kind == "i" and samples.dtype.itemsize == 2 else samples), rate


def frequency(samples: np.ndarray, rate: int) -> float:
    middle = samples[len(samples) // 4 : len(samples) * 3 // 4].astype(float)
    return float(np.abs(np.fft.rfft(middle * np.hanning(len(middle)))).argmax() * rate / len(middle))


@pytest.mark.parametrize("format_", [name for name in AUDIO_FORMATS if name != "pcm"])
@pytest.mark.parametrize("rate", RATES)
def test_a_streamed_file_opens_with_the_right_length_and_pitch(format_, rate):
    samples = tone(1.5, rate)
    encoder = Encoder(format_, rate)

    pieces = [encoder.feed(samples[start : start + 777].tobytes()) for start in range(0, len(samples), 777)]
    version, found_rate = decoded(b"".join([*pieces, encoder.finish()]))

    assert len(version) / found_rate == pytest.approx(1.5, abs=0.13)  # AAC and MP3 pad by a few frames
    assert frequency(version, found_rate) == pytest.approx(440, abs=4)


@pytest.mark.parametrize("format_", [name for name in AUDIO_FORMATS if name != "pcm"])
def test_a_whole_file_passes_the_probe_of_uploads(format_, tmp_path):
    path = tmp_path / "speech"
    path.write_bytes(encode(tone(2.0, 16_000), format_, 16_000))

    info = probe(path)

    assert info.complete
    assert info.duration_seconds == pytest.approx(2.0, abs=0.13)


@pytest.mark.parametrize("format_", ["wav", "flac", "pcm"])
def test_lossless_formats_give_back_every_sample(format_):
    samples = np.random.default_rng(0).integers(-32768, 32768, 10_000).astype(np.int16)

    data = encode(samples, format_, 24_000)

    result = samples if format_ != "pcm" else np.frombuffer(data, "<i2")
    if format_ != "pcm":
        result = np.rint(decoded(data)[0] * 32768).astype(np.int16)
    np.testing.assert_array_equal(result, samples)


@pytest.mark.parametrize("format_", MEDIA_TYPES)
def test_sound_leaves_the_encoder_within_a_quarter_of_a_second(format_):
    encoder = Encoder(format_, 32_000)
    samples = np.random.default_rng(0).integers(-9000, 9000, 32_000).astype(np.int16)
    fed, got = [], 0

    for start in range(0, len(samples), 800):
        got += len(encoder.feed(samples[start : start + 800].tobytes()))
        fed.append(got)

    after_a_quarter, at_the_end = fed[9], fed[-1]
    assert after_a_quarter > at_the_end * 0.05


@pytest.mark.parametrize("format_", MEDIA_TYPES)
def test_nothing_fed_still_ends_well(format_):
    encoder = Encoder(format_, 16_000)

    data = encoder.feed(b"") + encoder.finish()

    assert data == (wav_header(16_000, None) if format_ == "wav" else data)
    assert format_ != "pcm" or data == b""


def test_a_streamed_wav_says_that_its_length_is_not_known():
    encoder = Encoder("wav", 16_000)

    data = encoder.feed(bytes(100)) + encoder.feed(bytes(100)) + encoder.finish()

    assert data[4:8] == data[40:44] == b"\xff" * 4
    assert len(data) == 244


def test_a_whole_wav_says_how_long_it_is(tmp_path):
    samples = tone(0.1, 16_000)
    path = tmp_path / "speech.wav"

    path.write_bytes(encode(samples, "wav", 16_000))

    decoded, rate = read_wav(path)
    assert rate == 16_000
    np.testing.assert_array_equal(decoded, samples)
    assert encode(path, "wav") == path.read_bytes()


def test_a_format_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="no format 'ogg'; there are mp3, opus"):
        Encoder("ogg", 16_000)


@pytest.mark.parametrize("format_", ["pcm_mulaw", "pcm_alaw"])
@pytest.mark.parametrize("rate", [16_000, 24_000, 32_000])
def test_telephony_formats_are_g711_at_8_khz_without_a_header(format_, rate):
    samples = tone(1.0, rate)
    encoder = Encoder(format_, rate)

    pieces = [encoder.feed(samples[start : start + 777].tobytes()) for start in range(0, len(samples), 777)]
    data = b"".join([*pieces, encoder.finish()])
    with av.open(
        io.BytesIO(data), format="mulaw" if format_ == "pcm_mulaw" else "alaw", options={"sample_rate": "8000"}
    ) as file:
        expanded = np.concatenate([frame.to_ndarray().reshape(-1) for frame in file.decode(audio=0)])

    assert len(data) == len(expanded) == pytest.approx(8000, abs=40)  # one byte a sample
    assert frequency(expanded, 8000) == pytest.approx(440, abs=2)
    assert len(b"".join(pieces)) > 0.9 * len(data)


@pytest.mark.parametrize(("format_", "silence"), [("pcm_mulaw", 0xFF), ("pcm_alaw", 0xD5)])
def test_silence_in_telephony_formats_is_their_code_for_zero(format_, silence):
    assert set(encode(np.zeros(8000, dtype=np.int16), format_, 8000)) == {silence}
