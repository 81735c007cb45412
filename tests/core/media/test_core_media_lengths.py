"""Complete recordings whose lengths are wrong, and truncated ones: what the limited child makes of each."""

from __future__ import annotations

import struct
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from media_files import RATE, contained, wav_bytes

from core.errors import BadAudio
from core.media.decode import check_recording, decode, probe
from core.media.encode import encode

Save = Callable[[bytes], Path]


def samples_of(path: Path) -> np.ndarray:
    with wave.open(str(path)) as written:
        return np.frombuffer(written.readframes(written.getnframes()), "<i2")


def with_lengths(content: bytes, *, riff: int | None = None, data: int | None = None) -> bytes:
    changed = bytearray(content)
    if riff is not None:
        changed[4:8] = struct.pack("<I", riff)
    if data is not None:
        place = changed.index(b"data") + 4
        changed[place : place + 4] = struct.pack("<I", data)
    return bytes(changed)


def rf64_bytes(data: bytes, *, riff: int, data_length: int, in_chunk: int = 0xFFFFFFFF) -> bytes:
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, riff, data_length, 0, 0)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    return (
        struct.pack("<4sI4s", b"RF64", 0xFFFFFFFF, b"WAVE")
        + sizes
        + form
        + struct.pack("<4sI", b"data", in_chunk)
        + data
    )


PLACEHOLDERS = [
    0xFFFFFFFF, 0xFFFFFFFF - 36, 0x80000000, 0x7FFFFFFF, 0x7FFFF000, 0x7FFFF000 - 36, 0x7FFF0000, 0x10000000,
    1_000_000_000, 0,
]  # fmt: skip
LENGTHS = [(length, min(length + 36, 0xFFFFFFFF)) for length in PLACEHOLDERS]
LENGTHS += [(0xFFFFFFFF, 128_036), (0x7FFFFFFF, 0), (5_000_000, 0), (0, 128_036), (0, 0xFFFFFFFF)]


@pytest.mark.parametrize(("length", "riff"), LENGTHS)
def test_the_placeholder_of_a_streaming_writer_is_no_truncation(
    length: int, riff: int, noise: np.ndarray, save: Save, tmp_path: Path
) -> None:
    content = with_lengths(wav_bytes(noise.tobytes()), riff=riff, data=length)

    info = decode(save(content), tmp_path / "out.wav")

    assert info.complete
    assert info.duration_seconds == 4.0
    assert any("128,000" in warning for warning in info.warnings)
    assert samples_of(tmp_path / "out.wav").tobytes() == noise.tobytes()


@pytest.mark.parametrize("length", [128_044, 200_000, 1_234_568, 128_001])
def test_any_data_length_is_wrong_where_the_file_has_its_own_length(length: int, noise: np.ndarray, save: Save) -> None:
    info = probe(save(with_lengths(wav_bytes(noise.tobytes()), data=length)))

    assert (info.complete, info.duration_seconds) == (True, 4.0)
    assert info.warnings == (
        f"Its header gives {length:,} bytes of sound, and there are 128,000; all of them are used.",
    )


def test_a_data_length_that_was_not_updated_leaves_nothing_out(noise: np.ndarray, save: Save) -> None:
    info = probe(save(with_lengths(wav_bytes(noise.tobytes()), data=32_000)))

    assert (info.complete, info.duration_seconds, len(info.warnings)) == (True, 4.0, 1)


@pytest.mark.parametrize("riff", [0, 0xFFFFFFFF])
def test_a_wrong_length_of_the_file_alone_does_not_matter(riff: int, noise: np.ndarray, save: Save) -> None:
    info = probe(save(with_lengths(wav_bytes(noise.tobytes()), riff=riff)))

    assert (info.complete, info.duration_seconds) == (True, 4.0)


@pytest.mark.parametrize(
    ("channels", "bits", "float_", "length"),
    [(2, 16, False, 0xFFFFFFFF), (1, 24, False, 0x7FFFFFFF), (2, 32, True, 0), (1, 8, False, 0xFFFFFFFF)],
)
def test_placeholders_are_read_in_every_sample_format(
    channels: int, bits: int, float_: bool, length: int, noise: np.ndarray, save: Save
) -> None:
    frames = len(noise) * 2 // (channels * bits // 8)
    data = np.zeros(frames * channels, "<f4").tobytes() if float_ else noise.tobytes()[: frames * channels * bits // 8]
    content = wav_bytes(data, channels=channels, bits=bits, float_=float_)

    info = probe(save(with_lengths(content, riff=length, data=length)))

    assert info.complete
    assert info.duration_seconds == pytest.approx(frames / RATE, abs=0.001)


@pytest.mark.parametrize(
    ("riff", "length", "in_chunk", "warned"),
    [
        (128_072, 128_000, 0xFFFFFFFF, False),
        (0, 0, 0xFFFFFFFF, True),
        (2**64 - 1, 2**64 - 1, 0xFFFFFFFF, True),
        (2**63 - 1, 2**63 - 1, 0xFFFFFFFF, True),
        (128_072, 5 << 32, 0xFFFFFFFF, True),
        (128_072, 128_000, 0, True),
    ],
)
def test_lengths_of_64_bits_are_corrected_as_well(
    riff: int, length: int, in_chunk: int, warned: bool, noise: np.ndarray, save: Save, tmp_path: Path
) -> None:
    upload = save(rf64_bytes(noise.tobytes(), riff=riff, data_length=length, in_chunk=in_chunk))

    info = decode(upload, tmp_path / "out.wav")

    assert (info.complete, info.duration_seconds, bool(info.warnings)) == (True, 4.0, warned)
    assert samples_of(tmp_path / "out.wav").tobytes() == noise.tobytes()


def test_chunks_before_and_after_the_sound_are_not_sound(noise: np.ndarray, save: Save, tmp_path: Path) -> None:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    comment = struct.pack("<4sI4s", b"LIST", 4, b"INFO")
    data = struct.pack("<4sI", b"data", 128_000) + noise.tobytes()
    content = b"WAVE" + comment + form + data + comment

    info = decode(save(struct.pack("<4sI", b"RIFF", len(content)) + content), tmp_path / "out.wav")

    assert (info.complete, info.warnings) == (True, ())
    assert samples_of(tmp_path / "out.wav").tobytes() == noise.tobytes()


def test_two_wav_files_in_one_are_both_heard(noise: np.ndarray, save: Save, tmp_path: Path) -> None:
    info = decode(save(wav_bytes(noise.tobytes()) * 2), tmp_path / "out.wav")

    assert (info.complete, info.duration_seconds) == (True, 8.0)
    assert "2 WAV files" in info.warnings[0]
    assert samples_of(tmp_path / "out.wav").tobytes() == noise.tobytes() * 2


@pytest.mark.parametrize("removed", [2000, 64_001])
def test_a_wav_whose_end_is_missing_is_not_complete(
    removed: int, noise: np.ndarray, save: Save, tmp_path: Path
) -> None:
    upload = save(wav_bytes(noise.tobytes())[:-removed])

    assert not probe(upload).complete
    assert not decode(upload, tmp_path / "out.wav").complete
    assert not check_recording(upload).complete


def test_an_rf64_whose_end_is_missing_is_not_complete(noise: np.ndarray, save: Save) -> None:
    assert not probe(save(rf64_bytes(noise.tobytes(), riff=128_072, data_length=128_000)[:-20_000])).complete


@pytest.fixture(scope="module")
def mp3s(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Four seconds of noise with a header that counts the frames, without one, and as MP2."""
    noise = (np.random.default_rng(0).standard_normal(4 * RATE) * 3000).astype(np.int16)
    folder = tmp_path_factory.mktemp("mp3")
    counted = contained(noise, "mp3", "libmp3lame", folder / "counted")
    return {
        "counted": counted,
        "streamed": encode(noise, "mp3", RATE),
        "mp2": contained(noise, "mp2", "mp2", folder / "mp2"),
    }


TAG = b"TAG" + b"a" * 125
ID3 = b"ID3\x04\0\0\0\0\0\x14" + b"TIT2\0\0\0\x06\0\0\0title" + bytes(4)
APE = (
    b"APETAGEX"
    + struct.pack("<IIII8x", 2000, 32, 0, 0xA0000000)
    + struct.pack("<8sIIII8x", b"APETAGEX", 2000, 32, 0, 0x80000000)
)


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        ("counted", bytes(1)), ("counted", bytes(5000)), ("streamed", bytes(1 << 20)), ("mp2", bytes(417)),
        ("counted", APE),        ("streamed", bytes(3000) + TAG), ("streamed", TAG + bytes(99)), ("counted", ID3),
    ],
)  # fmt: skip
def test_zeros_and_tags_after_an_mp3_are_no_damage(
    kind: str, after: bytes, mp3s: dict[str, bytes], save: Save, tmp_path: Path
) -> None:
    whole = decode(save(mp3s[kind]), tmp_path / "whole.wav")
    info = decode(save(mp3s[kind] + after), tmp_path / "out.wav")

    assert (info.complete, info.duration_seconds) == (True, whole.duration_seconds)
    assert np.array_equal(samples_of(tmp_path / "out.wav"), samples_of(tmp_path / "whole.wav"))


@pytest.mark.parametrize(
    ("first", "between", "second"),
    [
        ("counted", b"", "counted"), ("counted", TAG, "streamed"), ("streamed", bytes(2000), "counted"),
        ("streamed", TAG + ID3, "streamed"), ("streamed", b"", "streamed"),
    ],
)  # fmt: skip
def test_two_mp3s_in_one_file_are_both_heard(
    first: str, second: str, between: bytes, mp3s: dict[str, bytes], save: Save, tmp_path: Path
) -> None:
    upload = save(mp3s[first] + between + mp3s[second])

    info = decode(upload, tmp_path / "out.wav")

    assert info.complete
    assert info.duration_seconds == pytest.approx(8.2, abs=0.15)
    assert probe(upload).complete
    assert check_recording(upload).complete
    if first == "counted":
        assert "2 recordings" in info.warnings[0]


def test_two_mp3s_of_different_rates_are_both_heard(mp3s: dict[str, bytes], save: Save, tmp_path: Path) -> None:
    noise = (np.random.default_rng(1).standard_normal(2 * 44_100) * 3000).astype(np.int16)

    info = decode(save(mp3s["counted"] + encode(noise, "mp3", 44_100)), tmp_path / "out.wav")

    assert info.complete
    assert (info.sample_rate, info.duration_seconds) == (RATE, pytest.approx(6.15, abs=0.15))


@pytest.mark.parametrize("kind", ["counted", "streamed", "mp2"])
@pytest.mark.parametrize("after", [b"", TAG], ids=["end", "tag"])
def test_an_mp3_whose_end_is_missing_is_not_complete(
    kind: str, after: bytes, mp3s: dict[str, bytes], save: Save
) -> None:
    half = mp3s[kind][: len(mp3s[kind]) // 2 + 50]

    assert not probe(save(half + after)).complete


def test_an_mp3_that_breaks_off_before_another_is_not_complete(mp3s: dict[str, bytes], save: Save) -> None:
    counted = mp3s["counted"]

    assert not probe(save(counted[: len(counted) // 2] + counted)).complete
    assert not probe(save(counted + counted[: len(counted) // 2])).complete


@pytest.mark.parametrize("kind", ["counted", "streamed"])
def test_zeros_in_the_middle_of_an_mp3_are_damage(kind: str, mp3s: dict[str, bytes], save: Save) -> None:
    damaged = bytearray(mp3s[kind])
    middle = len(damaged) // 2
    damaged[middle : middle + 3000] = bytes(3000)

    info = probe(save(bytes(damaged)))

    assert not info.complete
    assert info.broken_at_seconds == pytest.approx(2.0, abs=0.3)


@pytest.mark.parametrize("zeros", [100, 1 << 20])
def test_zeros_after_an_ogg_are_no_damage(zeros: int, noise: np.ndarray, save: Save) -> None:
    assert probe(save(encode(noise, "opus", RATE) + bytes(zeros))).complete


def video(path: Path, tracks: list[np.ndarray], codec: str = "aac") -> bytes:
    """Return a film with those sounds as its tracks."""
    with av.open(str(path), "w", format="matroska") as output:
        picture = output.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        streams = [
            cast("av.AudioStream", output.add_stream(cast("Any", codec), rate=RATE, layout="mono")) for _ in tracks
        ]
        for _ in range(10):
            output.mux(picture.encode(av.VideoFrame(64, 64, "yuv420p")))
        output.mux(picture.encode(None))
        for stream, samples in zip(streams, tracks, strict=True):
            resampler = av.AudioResampler(format=stream.codec_context.format.name, layout="mono", rate=RATE)
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            for piece in resampler.resample(frame):
                output.mux(stream.encode(piece))
            output.mux(stream.encode(None))
    return path.read_bytes()


SILENCE = np.zeros(4 * RATE, np.int16)
HISS = (np.random.default_rng(2).standard_normal(4 * RATE) * 3).astype(np.int16)


@pytest.mark.parametrize(("place", "silence"), [(1, SILENCE), (2, HISS)])
def test_the_track_of_a_video_that_can_be_heard_is_used(
    place: int, silence: np.ndarray, noise: np.ndarray, save: Save, tmp_path: Path
) -> None:
    tracks = [silence, silence, silence]
    tracks[place] = noise
    upload = save(video(tmp_path / "film", tracks))

    info = decode(upload, tmp_path / "out.wav")

    assert info.complete
    assert np.abs(samples_of(tmp_path / "out.wav")).max() > 5000
    assert not check_recording(upload).silent
    assert probe(upload).complete


def test_of_two_tracks_with_sound_the_first_is_used(noise: np.ndarray, save: Save, tmp_path: Path) -> None:
    quiet = (noise // 8).astype(np.int16)

    decode(save(video(tmp_path / "film", [quiet, noise])), tmp_path / "out.wav")

    assert np.abs(samples_of(tmp_path / "out.wav")).max() < 3000


def test_a_video_without_any_sound_is_silent(save: Save, tmp_path: Path) -> None:
    assert check_recording(save(video(tmp_path / "film", [SILENCE, SILENCE]))).silent


def test_a_header_without_sound_after_it_is_no_recording(save: Save) -> None:
    for length in (0, 0xFFFFFFFF, 0x7FFFFFFF):
        with pytest.raises(BadAudio, match="No sound"):
            probe(save(with_lengths(wav_bytes(b""), riff=length, data=length)))
