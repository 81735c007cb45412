"""A voice of files that were trained elsewhere: checked, converted, and tried out as a synthesizer loads it.

What the files hold is read and never run, and the recording is opened by the limited child.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import (
    BadArchive,
    BadAudio,
    EmptyText,
    InvalidRequest,
    MissingPart,
    NotFound,
    SilentRecording,
    SovitsError,
)
from core.media import check_recording, decode, probe
from core.voices.archive import MANIFEST
from core.voices.checks import check_name

if TYPE_CHECKING:
    from core.voices.archive import PromptEntry
    from GPT_SoVITS.checkpoints.identify import Checkpoint

SPARE_BYTES = 64 << 20
"""What a disk must keep free beside the voice."""
READ_WITH_ROBERTA = ("zh", "all_zh")
"""Languages in which every sentence needs its features."""
OWN_PARTS = ("gpt", "sovits")
"""What the user brings; of `sovits` a LoRA needs the official one besides."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user gave."""

    name: str
    gpt: Path
    sovits: Path
    recording: Path
    text: str
    """What the recording says."""
    language: str
    version: str | None = None
    """Of the SoVITS file, where it does not say itself."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A converted checkpoint, not yet published."""

    kind: str
    version: str
    path: Path
    sha256: str
    epoch: int | None
    step: int | None

    @property
    def id(self) -> str:
        """Made from the content, so that the same file is kept once, however often it is imported."""
        return f"ckpt-{self.sha256[:20]}"

    @property
    def key(self) -> str:
        return f"checkpoints/{self.id}.safetensors"


@dataclass(frozen=True, slots=True)
class Spoken:
    """A prompt: a decoded recording and what it says."""

    recording: Path
    text: str
    language: str
    tokens: list[int] | None = None
    """Where they are known already."""


@dataclass(frozen=True, slots=True)
class Made:
    """A voice that was tried out, not yet published."""

    gpt: Weights
    sovits: Weights
    recording: Path
    tokens: list[int]
    """Of the recording: no synthesizer needs the content encoder for it."""


def check_words(asked: Asked) -> None:
    check_name(asked.name)
    if not asked.text:
        raise EmptyText("The text of the recording is empty.", hint="Say with --text which words it holds.")


def make_voice(asked: Asked, language: str, models: Path, folder: Path) -> Made:
    """Check what was given, the cheapest first, and convert and try it in `folder`."""
    from GPT_SoVITS.checkpoints.checkpoint import open_checkpoint
    from GPT_SoVITS.synthesis.model_loading import check_pair

    gpt = open_checkpoint(asked.gpt, kind="gpt")
    sovits = open_checkpoint(asked.sovits, kind="sovits", version=asked.version)
    check_pair(gpt, sovits)
    _check_settings(gpt, asked.gpt)
    _check_parts(sovits, language, models)
    recording = _keep_recording(asked.recording, sovits.version, folder / "prompt.wav")
    _check_space(folder, (asked.gpt, asked.sovits))
    weights = _convert(gpt, folder), _convert(sovits, folder)
    del gpt, sovits  # what is mapped of them counts as memory
    (tokens,) = _try(*weights, [Spoken(recording, asked.text, language)], models)
    return Made(*weights, recording, tokens)


def check_exported(
    gpt: Weights, sovits: Weights, prompts: list[tuple[Path, Path, PromptEntry]], language: str, models: Path
) -> list[list[int]]:
    """Try out the files of an exported voice, whose weights stay byte for byte; the semantic tokens of its prompts.

    `prompts`: the recording in the archive, where to decode it to, and what the archive says of it.
    """
    from GPT_SoVITS.checkpoints.checkpoint import open_checkpoint
    from GPT_SoVITS.checkpoints.torch_archive import HEADERS, read_header
    from GPT_SoVITS.synthesis.model_loading import check_pair

    files = []
    for weights in (gpt, sovits):
        found = open_checkpoint(weights.path, kind=weights.kind)
        if read_header(weights.path) in HEADERS or found.version != weights.version:
            raise BadArchive(f"The {weights.kind} file of the archive is not what its {MANIFEST} says.")
        files.append(found)
    check_pair(*files)
    _check_parts(files[1], language, models)
    files.clear()  # what is mapped of them counts as memory
    spoken = [
        Spoken(_keep_recording(source, sovits.version, decoded), said.text, said.language, said.tokens)
        for source, decoded, said in prompts
    ]
    return _try(gpt, sovits, spoken, models)


def _check_settings(gpt: Checkpoint, path: Path) -> None:
    """A GPT's sizes are in its settings alone; of a SoVITS the tensors show what matters."""
    if not gpt.config:
        raise InvalidRequest(
            f"{path.name} holds the weights of a GPT without its settings, and so not its sizes.",
            hint="A voice's GPT file is the one that training saves for inference, with `weight` and `config`.",
        )


def _check_parts(sovits: Checkpoint, language: str, models: Path) -> None:
    """MissingPart names all that the voice could not speak without, and the command that fetches it."""
    from GPT_SoVITS.checkpoints.catalog import find_part, needed
    from GPT_SoVITS.checkpoints.checkpoint import lora_rank
    from GPT_SoVITS.errors import ModelError

    is_lora = lora_rank(sovits.state) is not None
    missing = []
    for part in needed(sovits.version):
        if (part == "sovits" and not is_lora) or part == "gpt":
            continue
        if part == "roberta" and language not in READ_WITH_ROBERTA:
            continue
        try:
            find_part(models, part, sovits.version)
        except ModelError:
            missing.append(part)
    if not missing:
        return
    lora = ", whose SoVITS file is a LoRA," if "sovits" in missing else ""
    names = ["the base of that LoRA" if part == "sovits" else part for part in missing]
    # A version brings its helpers along; without its base they are fetched alone, for a base is large.
    fetched = sovits.version if "sovits" in missing else " ".join(missing)
    raise MissingPart(
        f"A voice of {sovits.version}{lora} needs official weights that are not in {models}: {', '.join(names)}.",
        hint=f"`main.py download {fetched}` fetches them.",
    )


def _keep_recording(source: Path, version: str, target: Path) -> Path:
    """Decode the recording to a mono WAV. BadAudio for what is no sound, damaged, silent, too short or too long."""
    from GPT_SoVITS.synthesis.prompt import BOUNDS, OFFICIAL_BOUNDS

    if not source.is_file():
        raise NotFound(f"There is no recording at {source}.")
    shortest, longest = BOUNDS.get(version, OFFICIAL_BOUNDS)
    try:
        seconds = probe(source, min_seconds=0.0).duration_seconds
        if not shortest <= seconds <= longest:
            raise BadAudio(
                f"The recording lasts {seconds:.1f} s.",
                hint=f"A prompt of {version} lasts {shortest:g} to {longest:g} s.",
            )
        report = check_recording(source, max_seconds=longest + 1)
        if not report.complete:
            raise BadAudio(f"The recording breaks off after {report.seconds:.1f} s.", hint="The whole file is needed.")
        if report.silent:
            raise SilentRecording("Nothing can be heard in the recording.")
        decode(source, target, mono=True, max_seconds=longest + 1)
    except BadAudio as error:
        raise type(error)(f"{source.name}: {error.message}", hint=error.hint) from error
    return target


def _check_space(folder: Path, files: tuple[Path, ...]) -> None:
    wanted = sum(path.stat().st_size for path in files) + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise SovitsError(
            f"The disk of {folder.parent.parent} has {free >> 20} MiB free, and this voice takes {wanted >> 20} MiB."
        )


def _convert(checkpoint: Checkpoint, folder: Path) -> Weights:
    """Write the weights as ours, number for number."""
    from GPT_SoVITS.checkpoints.checkpoint import save_checkpoint
    from GPT_SoVITS.checkpoints.identify import progress

    path = folder / f"{checkpoint.kind}.safetensors"
    digest = save_checkpoint(
        path,
        kind=checkpoint.kind,
        version=checkpoint.version,
        config=checkpoint.config,
        state=checkpoint.state,
        info=checkpoint.info,
        half=None,
    )
    return Weights(checkpoint.kind, checkpoint.version, path, digest, *progress(checkpoint.info))


def _try(gpt: Weights, sovits: Weights, prompts: list[Spoken], models: Path) -> list[list[int]]:
    """Load the voice and read its prompts as a synthesizer does; the recordings' semantic tokens."""
    from GPT_SoVITS.errors import ModelError
    from GPT_SoVITS.pipeline import Pipeline

    try:
        pipeline = Pipeline.load(gpt.path, sovits.path, models=models)
        most = pipeline.gpt.dimensions.end
        found: list[list[int]] = []
        for one in prompts:
            if not all(0 <= token < most for token in one.tokens or ()):
                raise BadArchive("A prompt of the archive has semantic tokens that its voice does not know.")
            prompt = pipeline.prepare_prompt(one.recording, one.text, one.language, tokens=one.tokens)
            found.append(prompt.tokens.tolist())
    except (ModelError, SovitsError, OSError):
        raise
    except Exception as error:  # a stranger's settings make a network raise whatever they hit first
        reason = (str(error).splitlines() or [""])[0][:200]
        raise InvalidRequest(
            f"The files can be read, but no voice can be made of them ({type(error).__name__}: {reason})."
        ) from error
    return found
