"""Which recordings of a training-set folder stage 2 can learn from (specification s2-sovits §14.1, §14.2).

Nothing vanishes without a word: what is left out is returned with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.symbols import symbols

TEXT_FILE = "2-name2text.txt"
SSL_FOLDER = "4-cnhubert"
WAVE_FOLDER = "5-wav32k"
CODES_FILE = "6-name2semantic.tsv"
SPEAKER_FOLDER = "7-sv_cn"
SECONDS = (0.6, 54.0)
"""Shortest and longest recording that is taken, both exclusive."""


@dataclass(frozen=True, slots=True)
class TrainingSetEntry:
    """One recording that can be trained on."""

    name: str
    phones: tuple[int, ...]
    frames: int
    """Spectrogram frames, whole ones."""
    codes: tuple[int, ...] | None
    """Semantic tokens; None when content features are used in their place."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a folder offers."""

    entries: list[TrainingSetEntry]
    """In the order of the text file, each once."""
    repeats: int
    """How often the list counts in one epoch."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Name of a recording -> why it is not used."""


def select_entries(folder: Path, config: dict[str, Any], *, source: str = "codes") -> Selection:
    """Read the folder's lists. `source` is `codes` (file 6) or `ssl` (folder 4).

    Raises ModelError with "missing_training_data" when a list is not there at all.
    """
    texts, left_out = _read_texts(folder)
    codes = _read_codes(folder) if source == "codes" else None
    speaker = bool(config["model"]["speaker_vector"])
    present = []
    for name in texts:
        missing = _missing(folder, name, codes, speaker)
        if missing:
            left_out[name] = f"there is no {missing}"
        else:
            present.append(name)
    table = {symbol: index for index, symbol in enumerate(symbols(config["version"]))}
    entries = []
    for name in present:
        entry = _entry(folder, name, texts[name], codes, table, config["data"])
        if isinstance(entry, TrainingSetEntry):
            entries.append(entry)
        else:
            left_out[name] = entry
    wanted = config["train"]["epoch_items"]
    repeats = 1 if len(present) >= wanted else max(2, wanted // max(1, len(present)))
    return Selection(entries, repeats, left_out)


def choose_source(folder: Path, asked: str) -> str:
    """`codes` or `ssl`: what was asked for, or of `auto` the stored tokens where there are any."""
    if asked != "auto":
        return asked
    return "codes" if (folder / CODES_FILE).is_file() or not (folder / SSL_FOLDER).is_dir() else "ssl"


def _entry(
    folder: Path,
    name: str,
    phones: list[str],
    codes: dict[str, tuple[int, ...]] | None,
    table: dict[str, int],
    data: dict[str, Any],
) -> TrainingSetEntry | str:
    """The entry, or why there is none."""
    unknown = sorted({phone for phone in phones if phone not in table})
    if unknown:
        return f"this version has no phone {', '.join(unknown)}"
    if not phones:
        return "it has no phones"
    try:
        sound = soundfile.info(str(folder / WAVE_FOLDER / name))
    except soundfile.LibsndfileError as error:
        return f"its recording cannot be read: {error}"
    if sound.samplerate != data["sampling_rate"]:
        return f"it was recorded at {sound.samplerate} Hz; this version needs {data['sampling_rate']} Hz"
    if not SECONDS[0] < sound.frames / sound.samplerate < SECONDS[1]:
        return f"it lasts {sound.frames / sound.samplerate:.2f} s; {SECONDS[0]} to {SECONDS[1]} s work"
    frames = sound.frames // data["hop_length"]
    return TrainingSetEntry(name, tuple(table[p] for p in phones), frames, None if codes is None else codes[name])


def _missing(folder: Path, name: str, codes: dict[str, tuple[int, ...]] | None, speaker: bool) -> str:
    if not (folder / WAVE_FOLDER / name).is_file():
        return f"{WAVE_FOLDER}/{name}"
    if codes is not None and not codes.get(name):
        return f"line for it in {CODES_FILE}"
    if codes is None and not (folder / SSL_FOLDER / f"{name}.pt").is_file():
        return f"{SSL_FOLDER}/{name}.pt"
    if speaker and not (folder / SPEAKER_FOLDER / f"{name}.pt").is_file():
        return f"{SPEAKER_FOLDER}/{name}.pt"
    return ""


def _read_texts(folder: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    texts, left_out = {}, {}
    for fields in _lines(folder / TEXT_FILE):
        if len(fields) == 4:
            texts[fields[0]] = fields[1].split()
        else:
            left_out[fields[0]] = f"its line in {TEXT_FILE} has {len(fields)} fields, not 4"
    return texts, left_out


def _read_codes(folder: Path) -> dict[str, tuple[int, ...]]:
    rows = {}
    for fields in _lines(folder / CODES_FILE):
        if len(fields) == 2 and fields != ["item_name", "semantic_audio"]:
            rows[fields[0]] = tuple(int(code) for code in fields[1].split() if code.isdecimal())
    return rows


def _lines(path: Path) -> Iterator[list[str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ModelError("missing_training_data", f"The training set has no {path.name}.") from error
    # splitlines would also break at separators that a transcript may hold.
    for line in text.split("\n"):
        if line.strip():
            yield line.rstrip("\r").split("\t")
