"""The recordings of a training-set folder that stage 2 can learn from (specification s2-sovits §14.1, §14.2).

Recordings that are left out are returned with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import soundfile

from GPT_SoVITS.configs import Recipe
from GPT_SoVITS.configs.sections import read_section
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.sovits.config import SpectrogramConfig
from GPT_SoVITS.text.symbols import symbols

TEXT_FILE = "2-name2text.txt"
SSL_FOLDER = "4-cnhubert"
WAVE_FOLDER = "5-wav32k"
CODES_FILE = "6-name2semantic.tsv"
SPEAKER_FOLDER = "7-sv_cn"
SECONDS = (0.6, 54.0)
"""Shortest and longest recording that is accepted, both exclusive."""


@dataclass(frozen=True, slots=True)
class TrainingSetEntry:
    """One recording that can be trained on."""

    name: str
    phonemes: tuple[int, ...]
    """(S,) ids."""
    frames: int
    """Whole spectrogram frames."""
    codes: tuple[int, ...] | None
    """Semantic tokens; None when content features are used in their place."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The recordings of a folder."""

    entries: list[TrainingSetEntry]
    """In the order of the text file, each once."""
    repeats: int
    """How often the list is repeated in an epoch."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Name of a recording -> why it is not used."""


def select_entries(folder: Path, recipe: Recipe, *, source: str = "codes") -> Selection:
    """Read the folder's lists.

    Args:
        folder: the training-set folder.
        recipe: the version's recipe: `version`, the sampling rate and hop of `data`, `speaker_vector` of `model` and
            `epoch_items` of `train`.
        source: `codes` (file 6) or `ssl` (folder 4).

    Raises:
        ModelError: "missing_training_data": a list is missing.
    """
    texts, left_out = _read_texts(folder)
    codes = _read_codes(folder) if source == "codes" else None
    needs_speaker = bool(recipe["model"]["speaker_vector"])
    present = []
    for name in texts:
        missing = _missing(folder, name, codes, needs_speaker)
        if missing:
            left_out[name] = f"there is no {missing}"
        else:
            present.append(name)
    table = {symbol: index for index, symbol in enumerate(symbols(recipe["version"]))}
    spectrogram = read_section(SpectrogramConfig, recipe["data"], extra=True)
    entries = []
    for name in present:
        entry = _read_entry(folder, name, texts[name], codes, table, spectrogram)
        if isinstance(entry, TrainingSetEntry):
            entries.append(entry)
        else:
            left_out[name] = entry
    epoch_items = int(recipe["train"]["epoch_items"])
    repeats = 1 if len(present) >= epoch_items else max(2, epoch_items // max(1, len(present)))
    return Selection(entries, repeats, left_out)


def choose_source(folder: Path, setting: str) -> str:
    """Return `codes` or `ssl`; `auto` takes the stored tokens where there are any."""
    if setting != "auto":
        return setting
    return "codes" if (folder / CODES_FILE).is_file() or not (folder / SSL_FOLDER).is_dir() else "ssl"


def _read_entry(
    folder: Path,
    name: str,
    phonemes: list[str],
    codes: dict[str, tuple[int, ...]] | None,
    table: dict[str, int],
    spectrogram: SpectrogramConfig,
) -> TrainingSetEntry | str:
    """Return the entry, or why there is none."""
    unknown = sorted({phoneme for phoneme in phonemes if phoneme not in table})
    if unknown:
        return f"this version has no phone {', '.join(unknown)}"
    if not phonemes:
        return "it has no phones"
    try:
        audio = soundfile.info(str(folder / WAVE_FOLDER / name))
    except soundfile.LibsndfileError as error:
        return f"its recording cannot be read: {error}"
    if audio.samplerate != spectrogram.sampling_rate:
        return f"it was recorded at {audio.samplerate} Hz; this version needs {spectrogram.sampling_rate} Hz"
    if not SECONDS[0] < audio.frames / audio.samplerate < SECONDS[1]:
        return f"it lasts {audio.frames / audio.samplerate:.2f} s; {SECONDS[0]} to {SECONDS[1]} s work"
    frames = audio.frames // spectrogram.hop_length
    return TrainingSetEntry(name, tuple(table[p] for p in phonemes), frames, None if codes is None else codes[name])


def _missing(folder: Path, name: str, codes: dict[str, tuple[int, ...]] | None, needs_speaker: bool) -> str:
    """Return what a recording lacks; empty when it is complete."""
    if not (folder / WAVE_FOLDER / name).is_file():
        return f"{WAVE_FOLDER}/{name}"
    if codes is not None and not codes.get(name):
        return f"line for it in {CODES_FILE}"
    if codes is None and not (folder / SSL_FOLDER / f"{name}.pt").is_file():
        return f"{SSL_FOLDER}/{name}.pt"
    if needs_speaker and not (folder / SPEAKER_FOLDER / f"{name}.pt").is_file():
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
    """Yield the fields of each line. Raise ModelError("missing_training_data") for a missing file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ModelError("missing_training_data", f"The training set has no {path.name}.") from error
    # splitlines would also break at separators that a transcript may hold.
    for line in text.split("\n"):
        if line.strip():
            yield line.rstrip("\r").split("\t")
