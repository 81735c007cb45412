"""A voice of files that were trained elsewhere: checked, converted, and tried out as a synthesizer loads it.

What the files hold is read and never run, and the recording is opened by the limited child.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common import storage_keys
from common.limits import prompt_seconds
from common.program_name import program_name
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
from core.media.decode import check_recording, decode, probe
from core.voices.archive import MANIFEST, PromptEntry
from core.voices.checks import check_name

if TYPE_CHECKING:
    from GPT_SoVITS.checkpoints.checkpoint import Checkpoint

SPARE_BYTES: Final = 64 << 20
"""What a disk must keep free beside the voice."""
LANGUAGES_WITH_ROBERTA: Final = ("zh", "all_zh")
"""Languages in which every sentence needs RoBERTa's features."""


@dataclass(frozen=True, slots=True)
class ForeignVoice:
    """The files of a voice that was trained elsewhere."""

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
class ConvertedCheckpoint:
    """Weights that are not published yet."""

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
        """The storage key under which it is published."""
        return storage_keys.checkpoint(self.id)


@dataclass(frozen=True, slots=True)
class DecodedPrompt:
    """A decoded recording and what it says."""

    recording: Path
    text: str
    language: str
    tokens: list[int] | None = None
    """Where they are known already."""


@dataclass(frozen=True, slots=True)
class ConvertedVoice:
    """A voice that was tried out and is not published yet."""

    gpt: ConvertedCheckpoint
    sovits: ConvertedCheckpoint
    recording: Path
    tokens: list[int]
    """Of the recording: no synthesizer needs the content encoder for it."""


def check_name_and_text(foreign: ForeignVoice) -> None:
    """Raise InvalidRequest for a name that cannot be used, EmptyText for an empty text."""
    check_name(foreign.name)
    if not foreign.text:
        raise EmptyText("The text of the recording is empty.", hint="Say with --text which words it holds.")


def convert_voice(foreign: ForeignVoice, language: str, models: Path, folder: Path) -> ConvertedVoice:
    """Check the files, the cheapest checks first, and convert and try them out in `folder`."""
    from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint
    from GPT_SoVITS.synthesis.model_loading import check_pair

    gpt = open_checkpoint(foreign.gpt, kind="gpt")
    sovits = open_checkpoint(foreign.sovits, kind="sovits", version=foreign.version)
    check_pair(gpt, sovits)
    if not gpt.config:  # of a SoVITS the tensors show what matters
        raise InvalidRequest(
            f"{foreign.gpt.name} holds the weights of a GPT without its settings, and so not its sizes.",
            hint="A voice's GPT file is the one that training saves for inference, with `weight` and `config`.",
        )
    _check_official_parts(sovits, language, models)
    recording = _decode_prompt(foreign.recording, sovits.version, folder / "prompt.wav")
    needed_bytes = foreign.gpt.stat().st_size + foreign.sovits.stat().st_size + SPARE_BYTES
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise SovitsError(
            f"The disk of {folder.parent.parent} has {free_bytes >> 20} MiB free, and this voice takes "
            f"{needed_bytes >> 20} MiB."
        )
    converted = _convert(gpt, folder), _convert(sovits, folder)
    del gpt, sovits  # what is mapped of them counts as memory
    (tokens,) = _try_out(*converted, [DecodedPrompt(recording, foreign.text, language)], models)
    return ConvertedVoice(*converted, recording, tokens)


def check_exported(
    gpt: ConvertedCheckpoint,
    sovits: ConvertedCheckpoint,
    prompts: Sequence[tuple[Path, Path, PromptEntry]],
    language: str,
    models: Path,
) -> list[list[int]]:
    """Try out the files of an exported voice, whose weights stay byte for byte; return its prompts' semantic tokens.

    `prompts`: the recording in the archive, where to decode it to, and its entry in the archive's manifest.
    """
    from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint
    from GPT_SoVITS.checkpoints.torch_archive import HEADERS, read_header
    from GPT_SoVITS.synthesis.model_loading import check_pair

    opened = []
    for checkpoint in (gpt, sovits):
        weights = open_checkpoint(checkpoint.path, kind=checkpoint.kind)
        if read_header(checkpoint.path) in HEADERS or weights.version != checkpoint.version:
            raise BadArchive(f"The {checkpoint.kind} file of the archive is not what its {MANIFEST} says.")
        opened.append(weights)
    check_pair(*opened)
    _check_official_parts(opened[1], language, models)
    opened.clear()  # what is mapped of them counts as memory
    decoded = [
        DecodedPrompt(_decode_prompt(source, sovits.version, target), entry.text, entry.language, entry.tokens)
        for source, target, entry in prompts
    ]
    return _try_out(gpt, sovits, decoded, models)


def _check_official_parts(sovits: Checkpoint, language: str, models: Path) -> None:
    """Raise MissingPart, which names all that the voice needs to speak and the command that fetches it."""
    from GPT_SoVITS.checkpoints.catalog import find_part, needed
    from GPT_SoVITS.checkpoints.identify import lora_rank
    from GPT_SoVITS.errors import ModelError

    is_lora = lora_rank(sovits.state) is not None
    missing = []
    for part in needed(sovits.version):
        if (part == "sovits" and not is_lora) or part == "gpt":  # the user brings these; a LoRA needs its base
            continue
        if part == "roberta" and language not in LANGUAGES_WITH_ROBERTA:
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
    downloads = sovits.version if "sovits" in missing else " ".join(missing)
    raise MissingPart(
        f"A voice of {sovits.version}{lora} needs official weights that are not in {models}: {', '.join(names)}.",
        hint=f"`{program_name()} download {downloads}` fetches them.",
    )


def _decode_prompt(source: Path, version: str, target: Path) -> Path:
    """Decode the recording to a mono WAV. Raises BadAudio for a damaged, silent, too short or too long one."""
    if not source.is_file():
        raise NotFound(f"There is no recording at {source}.")
    shortest, longest = prompt_seconds(version)
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


def _convert(checkpoint: Checkpoint, folder: Path) -> ConvertedCheckpoint:
    """Write the weights in our format, number for number."""
    from GPT_SoVITS.checkpoints.checkpoint_files import save_checkpoint
    from GPT_SoVITS.checkpoints.identify import training_progress

    path = folder / f"{checkpoint.kind}.safetensors"
    sha256 = save_checkpoint(path, checkpoint, half=None)
    return ConvertedCheckpoint(checkpoint.kind, checkpoint.version, path, sha256, *training_progress(checkpoint.info))


def _try_out(
    gpt: ConvertedCheckpoint, sovits: ConvertedCheckpoint, prompts: Sequence[DecodedPrompt], models: Path
) -> list[list[int]]:
    """Load the voice and read its prompts as a synthesizer does; return the recordings' semantic tokens."""
    from GPT_SoVITS.errors import ModelError
    from GPT_SoVITS.pipeline import Pipeline

    try:
        pipeline = Pipeline.load(gpt.path, sovits.path, models=models)
        end_token = pipeline.gpt.config.end_token
        tokens: list[list[int]] = []
        for prompt in prompts:
            if not all(0 <= token < end_token for token in prompt.tokens or ()):
                raise BadArchive("A prompt of the archive has semantic tokens that its voice does not know.")
            prepared = pipeline.prepare_prompt(prompt.recording, prompt.text, prompt.language, tokens=prompt.tokens)
            tokens.append(prepared.tokens.tolist())
    except (ModelError, SovitsError, OSError):
        raise
    except Exception as error:  # untrusted settings make a network raise whatever they hit first
        reason = (str(error).splitlines() or [""])[0][:200]
        raise InvalidRequest(
            f"The files can be read, but no voice can be made of them ({type(error).__name__}: {reason})."
        ) from error
    return tokens
