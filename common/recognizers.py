"""Speech recognizers by folder: what lies in a folder decides what reads it, and which of several is the best."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, TypeAlias

RecognizerKind: TypeAlias = Literal["whisper", "sensevoice", "paraformer"]
WHISPER_FILE: Final = "model.bin"
"""What faster-whisper opens."""
ONNX_FILES: Final = ("model.int8.onnx", "model.onnx")
"""What sherpa-onnx opens, the smaller first."""
TOKENS_FILE: Final = "tokens.txt"
LANGUAGE_MARK: Final = "<|zh|>"
"""Every SenseVoice writes the language that it heard as such a token; no Paraformer does."""
MOST_TOKENS_BYTES: Final = 4 << 20
SHERPA: Final = "sherpa_onnx"
INSTALL_SHERPA: Final = "pip install 'sovitsd[sensevoice]'"


def recognizer_kind(folder: Path) -> RecognizerKind | None:
    """Return what reads the model in a folder; None where there is none."""
    if (folder / WHISPER_FILE).is_file():
        return "whisper"
    if onnx_file(folder) is None or not (folder / TOKENS_FILE).is_file():
        return None
    with (folder / TOKENS_FILE).open("rb") as file:
        return "sensevoice" if LANGUAGE_MARK.encode() in file.read(MOST_TOKENS_BYTES) else "paraformer"


def onnx_file(folder: Path) -> Path | None:
    """Return the ONNX model of a folder, the quantized one where there are two."""
    return next((path for name in ONNX_FILES if (path := folder / name).is_file()), None)


def can_read(kind: RecognizerKind) -> bool:
    """Return whether the library for recognizers of this kind is installed."""
    return kind == "whisper" or find_spec(SHERPA) is not None


def best_mandarin_recognizer(folder: Path) -> Path | None:
    """Return the best recognizer of Mandarin that is installed below the folder of models; None when there is none.

    SenseVoice and Paraformer come before any Whisper, and a large Whisper before a small one.
    """
    ranked: list[tuple[int, int, Path]] = []
    for path in folder.iterdir() if folder.is_dir() else ():
        kind = recognizer_kind(path)
        if kind is None or not can_read(kind) or path.name.startswith(".") or path.name.endswith((".en", "-en")):
            continue
        model = path / WHISPER_FILE if kind == "whisper" else onnx_file(path)
        assert model is not None
        ranked.append((("whisper", "paraformer", "sensevoice").index(kind), model.stat().st_size, path))
    return max(ranked)[2] if ranked else None
