"""What the limited child makes of uploads: good, damaged, hostile."""

from __future__ import annotations

import os
import subprocess
import sys
import wave

import numpy as np
import pytest
from media_files import RATE, contained, wav_bytes

from common.repository import REPOSITORY
from core.errors import BadAudio, DecoderKilled, RecordingTooShort
from core.media.decode import check_recording, decode, probe
from core.media.decode import decode as decode_function
from core.media.encode import encode

decode_module = sys.modules[decode_function.__module__]

CONTAINERS = [
    ("mp4", "aac"), ("mov", "alac"), ("matroska", "libopus"), ("webm", "libopus"), ("aiff", "pcm_s16be"),
    ("caf", "pcm_s16le"), ("au", "pcm_s16be"), ("3gp", "aac"), ("mpegts", "aac"), ("wv", "wavpack"),
]  # fmt: skip


@pytest.mark.parametrize(("container", "codec"), CONTAINERS)
def test_recordings_of_many_containers_are_decoded_whole(container, codec, noise, save, tmp_path):
    upload = save(contained(noise, container, codec, tmp_path / "made"))

    info = decode(upload, tmp_path / "out.wav", sample_rate=RATE, mono=True)

    assert info.complete
    assert info.duration_seconds == pytest.approx(4.0, abs=0.12)
    with wave.open(str(tmp_path / "out.wav")) as written:
        assert (written.getframerate(), written.getnchannels(), written.getsampwidth()) == (RATE, 1, 2)
        assert written.getnframes() / RATE == pytest.approx(info.duration_seconds)


@pytest.mark.parametrize(
    ("container", "codec", "media_type"),
    [
        ("wav", "pcm_s16le", "audio/wav"), ("w64", "pcm_s16le", "audio/x-w64"), ("flac", "flac", "audio/flac"),
        ("mp3", "libmp3lame", "audio/mpeg"), ("adts", "aac", "audio/aac"),
        ("ogg", "libopus", "audio/ogg"), ("ogg", "flac", "audio/ogg"), ("ipod", "aac", "audio/mp4"),
        ("mp4", "aac", "audio/mp4"), ("mov", "alac", "video/quicktime"), ("3gp", "aac", "audio/3gpp"),
        ("webm", "libopus", "audio/webm"),
        ("matroska", "libopus", "audio/x-matroska"), ("aiff", "pcm_s16be", "audio/aiff"),
        ("au", "pcm_s16be", "audio/basic"), ("caf", "pcm_s16le", "audio/x-caf"), ("mpegts", "aac", "video/mp2t"),
        ("wv", "wavpack", "audio/x-wavpack"),
    ],
)  # fmt: skip
def test_the_media_type_is_that_of_the_container(container, codec, media_type, noise, save, tmp_path):
    assert probe(save(contained(noise, container, codec, tmp_path / "made"))).media_type == media_type


def test_a_probe_names_rate_channels_codec_and_length(noise, save):
    upload = save(wav_bytes(noise.tobytes(), channels=2, rate=8000))

    info = probe(upload)

    assert (info.duration_seconds, info.sample_rate, info.channels, info.codec) == (4.0, 8000, 2, "pcm_s16le")
    assert info.complete


def test_channels_and_rate_are_kept_unless_something_else_is_asked_for(noise, save, tmp_path):
    upload = save(wav_bytes(noise.tobytes(), channels=2, rate=8000))

    kept = decode(upload, tmp_path / "kept.wav")
    mixed = decode(upload, tmp_path / "mixed.wav", sample_rate=RATE, mono=True)

    assert (kept.channels, kept.sample_rate) == (2, 8000)
    assert (mixed.channels, mixed.sample_rate, mixed.duration_seconds) == (1, RATE, 4.0)
    with wave.open(str(tmp_path / "kept.wav")) as written:
        assert written.readframes(1 << 20) == noise.tobytes()


@pytest.mark.parametrize("format_", ["wav", "flac", "opus"])
def test_a_file_cut_in_the_middle_says_where_it_ends(format_, noise, save, tmp_path):
    whole = encode(noise, format_, RATE)
    upload = save(whole[: len(whole) // 2])

    info = decode(upload, tmp_path / "out.wav")

    assert not info.complete
    assert info.broken_at_seconds == pytest.approx(info.duration_seconds, abs=0.01)
    assert 1.0 < info.duration_seconds < 3.0


def test_a_container_cut_in_the_middle_is_not_complete(noise, save, tmp_path):
    whole = contained(noise, "matroska", "flac", tmp_path / "made")
    upload = save(whole[: len(whole) // 2])

    assert not probe(upload).complete
    assert not decode(upload, tmp_path / "out.wav").complete


def test_a_file_damaged_in_the_middle_says_where(noise, save, tmp_path):
    damaged = bytearray(encode(np.tile(noise, 3), "mp3", RATE))
    middle = len(damaged) // 2
    damaged[middle : middle + 4000] = np.random.default_rng(1).bytes(4000)

    info = decode(save(bytes(damaged)), tmp_path / "out.wav")

    assert not info.complete
    assert info.broken_at_seconds == pytest.approx(6.0, abs=0.7)
    assert info.duration_seconds > 11


def test_tags_after_the_sound_are_no_damage(noise, save, tmp_path):
    tagged = encode(noise, "mp3", RATE) + b"TAG" + b"a" * 125

    assert decode(save(tagged), tmp_path / "out.wav").complete


def test_a_stream_s_wav_without_a_length_is_complete(noise, save):
    streamed = bytearray(wav_bytes(noise.tobytes()))
    streamed[4:8] = streamed[40:44] = b"\xff" * 4

    info = probe(save(bytes(streamed)))

    assert info.complete
    assert info.duration_seconds == 4.0


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"hello world\n" * 1000, "no sound file"),
        (bytes(50_000), "no sound file"),
        (b"PK\x03\x04" + bytes(5000), "no sound file"),
        (wav_bytes(b""), "No sound"),
        (wav_bytes(bytes(64_000), rate=4_000_000_000), "no sound file"),
        (wav_bytes(bytes(64 * 2 * RATE), channels=64), "64 channels"),
    ],
    ids=["empty", "text", "zeros", "zip", "no-samples", "rate", "channels"],
)
def test_what_is_no_sound_is_refused_in_a_sentence(data, says, save, tmp_path):
    upload = save(data)

    with pytest.raises(BadAudio, match=says):
        probe(upload)
    with pytest.raises(BadAudio, match=says):
        decode(upload, tmp_path / "out.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["upload"]


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{target}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{target}'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/x.wav\n#EXT-X-ENDLIST\n",
    ],
)
def test_a_playlist_opens_no_other_file(playlist, noise, save, tmp_path):
    target = tmp_path / "secret.wav"
    target.write_bytes(wav_bytes(noise.tobytes()))

    with pytest.raises(BadAudio, match="no sound file"):
        probe(save(playlist.format(target=target).encode()))


def test_a_picture_has_no_sound(save, tmp_path):
    import av

    with av.open(str(tmp_path / "made"), "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(10):
            output.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        output.mux(stream.encode(None))

    with pytest.raises(BadAudio, match="no sound in it"):
        probe(save((tmp_path / "made").read_bytes()))


def test_a_small_file_that_decodes_to_hours_is_refused(save, tmp_path):
    bomb = encode(np.zeros(600 * RATE, np.int16), "flac", RATE)
    assert len(bomb) < 1_000_000
    upload = save(bomb)

    for look in (
        lambda: probe(upload, max_seconds=300),
        lambda: decode(upload, tmp_path / "out.wav", max_seconds=300),
        lambda: check_recording(upload, max_seconds=300),
    ):
        with pytest.raises(BadAudio, match="more than the 5 minutes"):
            look()
    assert not (tmp_path / "out.wav").exists()


def test_a_click_is_too_short(save):
    upload = save(wav_bytes(bytes(2 * RATE // 5)))

    with pytest.raises(RecordingTooShort, match=r"0\.20 s; at least 0\.5 s"):
        probe(upload)


def test_loudness_and_silences_are_measured(noise, save):
    quiet = np.zeros(2 * RATE, np.int16)
    upload = save(wav_bytes(np.concatenate([noise, quiet, noise]).tobytes()))

    report = check_recording(upload)

    assert not report.silent
    assert report.seconds == 10.0
    assert report.peak == pytest.approx(np.abs(noise).max() / 32768)
    assert report.rms == pytest.approx(float(np.sqrt(np.square(noise / 32768.0).mean() * 0.8)), rel=1e-3)
    assert report.longest_silence_seconds == pytest.approx(2.0)
    assert report.sounding_seconds == pytest.approx(8.0)


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(RATE, "<f4"),
        np.full(RATE, 0.5, "<f4"),
        np.full(RATE, np.nan, "<f4"),
        (np.random.default_rng(0).standard_normal(RATE) * 1e-4).astype("<f4"),
    ],
    ids=["zeros", "offset", "nan", "hiss"],
)
def test_what_nobody_can_hear_is_silent(samples, save):
    report = check_recording(save(wav_bytes(samples.tobytes(), bits=32, float_=True)))

    assert report.silent
    assert report.sounding_seconds == 0.0


def test_a_float_recording_beyond_full_scale_is_clipped_not_wrapped(save, tmp_path):
    loud = (np.sin(np.arange(RATE) / 20) * 2).astype("<f4")

    decode(save(wav_bytes(loud.tobytes(), bits=32, float_=True)), tmp_path / "out.wav")

    with wave.open(str(tmp_path / "out.wav")) as written:
        samples = np.frombuffer(written.readframes(RATE), "<i2")
    assert np.all(np.sign(samples[loud > 0.1]) > 0)
    assert samples.max() == 32767


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "processor time"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "stopped by SIGSEGV"),
        ("raise SystemExit('it fell over')", "could not cope"),
    ],
    ids=["sigxcpu", "crash", "exit"],
)
def test_a_child_that_dies_is_a_bad_recording(program, says, noise, save, monkeypatch):
    monkeypatch.setattr(decode_module, "CHILD", (sys.executable, "-c", program))

    with pytest.raises(BadAudio, match=says):
        probe(save(wav_bytes(noise.tobytes())))


def test_a_child_that_somebody_kills_is_replaced_once(noise, save, monkeypatch, tmp_path):
    program = (
        "import os, runpy, signal, sys, pathlib\n"
        f"killed = pathlib.Path({str(tmp_path / 'killed')!r})\n"
        "if not killed.exists(): killed.touch(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "runpy.run_module('core.media.decoder_child', run_name='__main__')"
    )
    monkeypatch.setattr(decode_module, "CHILD", (sys.executable, "-c", program))
    upload = save(wav_bytes(noise.tobytes(), channels=1))

    assert decode(upload, tmp_path / "out.wav").complete
    assert (tmp_path / "killed").exists()


def test_a_child_that_somebody_kills_again_says_nothing_of_the_recording(noise, save, monkeypatch):
    monkeypatch.setattr(
        decode_module, "CHILD", (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    )

    with pytest.raises(DecoderKilled) as failure:
        probe(save(wav_bytes(noise.tobytes())))

    assert (failure.value.status, failure.value.code) == (503, "decoder_killed")


def test_a_recording_that_takes_too_much_processor_time_is_read_once(noise, save, monkeypatch, tmp_path):
    program = (
        "import pathlib\n"
        f"with pathlib.Path({str(tmp_path / 'runs')!r}).open('a') as file: file.write('x')\n"
        "from core.media import decoder_child\n"
        "decoder_child.CPU_SECONDS = 1\n"
        "decoder_child.limit_resources()\n"
        "while True: pass"
    )
    monkeypatch.setattr(decode_module, "CHILD", (sys.executable, "-c", program))

    with pytest.raises(BadAudio, match="more processor time"):
        probe(save(wav_bytes(noise.tobytes(), channels=1)))

    assert (tmp_path / "runs").read_text() == "x"


def test_the_child_loads_neither_the_settings_nor_the_queue():
    program = (
        "import core.media.decoder_child, sys; print(sorted({'core.settings', 'pydantic', 'redis'} & {*sys.modules}))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert loaded.stdout == "[]\n"


def test_the_child_cannot_take_more_memory_than_it_may(noise, save, monkeypatch):
    program = (
        "import core.media.decoder_child as c, sys\n"
        "c._probe = lambda options: bytes(2 * c.ADDRESS_SPACE)\n"
        "sys.exit(c.main(sys.argv[1:]))"
    )
    monkeypatch.setattr(decode_module, "CHILD", (sys.executable, "-c", program))

    with pytest.raises(BadAudio, match="more memory"):
        probe(save(wav_bytes(noise.tobytes())))


def test_the_child_sees_no_keys(monkeypatch, noise, save):
    program = (
        "import os, json, sys; bad = [n for n in os.environ if 'KEY' in n or 'URL' in n]; "
        "print(json.dumps({'error': ','.join(bad) or 'nothing'}))"
    )
    monkeypatch.setenv("VALID_API_KEYS", "secret")
    monkeypatch.setenv("REDIS_URL", "redis://:secret@localhost")
    monkeypatch.setattr(decode_module, "CHILD", (sys.executable, "-c", program))

    with pytest.raises(BadAudio, match=r"^nothing$"):
        probe(save(wav_bytes(noise.tobytes())))


def test_decoding_stops_when_the_caller_wants_it_to(noise, save, tmp_path, monkeypatch):
    monkeypatch.setattr(
        decode_module, "CHILD", (sys.executable, "-c", "import signal; print(flush=True); signal.pause()")
    )

    def stop() -> None:
        raise KeyError("cancelled")

    with pytest.raises(KeyError, match="cancelled"):
        decode(save(wav_bytes(noise.tobytes())), tmp_path / "out.wav", check=stop)


def test_a_failed_decode_leaves_the_old_file_and_nothing_else(save, tmp_path):
    destination = tmp_path / "out.wav"
    destination.write_bytes(b"what was there")

    with pytest.raises(BadAudio):
        decode(save(b"nothing to hear" * 100), destination)

    assert destination.read_bytes() == b"what was there"
    assert sorted(os.listdir(tmp_path)) == ["out.wav", "upload"]
