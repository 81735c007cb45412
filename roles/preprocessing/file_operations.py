"""What is done to one audio file by itself, so that any number of processes can share the files of a stage.

An operation is loaded once in a process and returns a function of a path; its result is plain JSON. On a CPU a file is
processed on one core, several at once: more cores for one file would add up in another order, and round otherwise.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from typing_extensions import TypedDict

from core.stages.outputs import LeftOutSegment
from roles.runtime.model_cache import ModelCache, file_version

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class ExecutionOptions:
    """What an operation may use."""

    device: str = "cpu"
    """`cpu` or `cuda`; which GPU that is, the environment has already decided."""
    threads: int = 1
    """Cores."""
    models: ModelCache = field(default_factory=ModelCache)

    @property
    def num_workers(self) -> int:
        """How many files are processed at once: one per core on a CPU, one on a GPU."""
        return 1 if self.device == "cuda" else self.threads


class FileResult(TypedDict, total=False):
    """The result of an operation on a file; which fields there are depends on the operation."""

    left_out: str
    """The reason why nothing can be learned from the file."""
    segments: list[str]
    """Names of the segments that it was cut into."""
    left_out_segments: list[LeftOutSegment]
    text: str
    language: str
    seconds: float
    confidence: float


FileFunction: TypeAlias = Callable[[Path], FileResult]


@dataclass(frozen=True, slots=True)
class FileOperation(ABC):
    """An operation with its options; subclasses are dataclasses whose fields are plain JSON."""

    @abstractmethod
    def load(self, execution: ExecutionOptions) -> FileFunction:
        """Load what the operation needs and return the function that is called for each file."""


@dataclass(frozen=True, slots=True)
class SliceRecording(FileOperation):
    """Cut a recording at its silences into the folder `output`."""

    output: str
    parameters: dict[str, Any]
    """Those of audio_slice."""

    def load(self, execution: ExecutionOptions) -> FileFunction:
        from GPT_SoVITS.audio import read_mono
        from GPT_SoVITS.dataset.slicer import Slicer, SliceSettings, write_segments

        folder, peak, mix = Path(self.output), self.parameters["_max"], self.parameters["alpha"]

        def process(path: Path) -> FileResult:
            samples, rate = read_mono(path)
            chunks = Slicer(rate, SliceSettings.from_parameters(self.parameters)).slice(samples)
            names, left_out = write_segments(chunks, folder, rate, name=path.name, peak=peak, mix=mix)
            return {
                "segments": names,
                "left_out_segments": [
                    {"segment": segment["segment"], "reason": segment["reason"]} for segment in left_out
                ],
            }

        return process


@dataclass(frozen=True, slots=True)
class Denoise(FileOperation):
    """Write a copy without noise into the folder `output`."""

    output: str

    def load(self, execution: ExecutionOptions) -> FileFunction:
        from GPT_SoVITS.dataset.denoise import Denoiser

        denoiser, folder = Denoiser(), Path(self.output)

        def process(path: Path) -> FileResult:
            denoiser.denoise(path, folder / path.name)
            return {}

        return process


@dataclass(frozen=True, slots=True)
class Transcribe(FileOperation):
    """Recognize speech with the model in the folder `model`."""

    model: str
    precision: str
    languages: dict[str, str]
    """File name → language, where it is known."""

    def load(self, execution: ExecutionOptions) -> FileFunction:
        from GPT_SoVITS.dataset.recognizers import load_recognizer

        folder, workers = Path(self.model), execution.num_workers
        transcriber = execution.models.get(
            ("recogniser", *file_version(folder), self.precision, workers),
            lambda: load_recognizer(folder, max_callers=workers, precision=self.precision),
        )

        def process(path: Path) -> FileResult:
            transcript = transcriber.transcribe(path, self.languages.get(path.name))
            if not transcript.text:
                return {"left_out": "nobody speaks in it"}
            return {
                "text": transcript.text,
                "language": transcript.language,
                "seconds": transcript.seconds,
                "confidence": transcript.confidence,
            }

        return process


@dataclass(frozen=True, slots=True)
class EncodeContent(FileOperation):
    """Write nano's content features (bundled Whisper encoder) into `features`, the audio at `rate` into `audio`."""

    model: str
    rate: int
    audio: str
    features: str

    def load(self, execution: ExecutionOptions) -> FileFunction:
        from GPT_SoVITS.audio import read_mono, resample, write_wav
        from GPT_SoVITS.dataset.folder import write_features
        from GPT_SoVITS.features.whisper_content import SAMPLE_RATE, ContentEncoder

        model, audio, features, workers = Path(self.model), Path(self.audio), Path(self.features), execution.num_workers
        encoder = execution.models.get(
            ("content", *file_version(model), workers), lambda: ContentEncoder(model, max_callers=workers)
        )

        def process(path: Path) -> FileResult:
            samples, rate = read_mono(path)
            write_features(features, path.name, encoder.encode(resample(samples, rate, SAMPLE_RATE)))
            write_wav(audio / path.name, resample(samples, rate, self.rate), self.rate)
            return {}

        return _leaving_out_rejected(process)


@dataclass(frozen=True, slots=True)
class EncodeHubert(FileOperation):
    """Write the content features of v1 to v4 into `features`, and the audio for the training into `audio`."""

    model: str
    half: bool | None
    audio: str
    features: str

    def load(self, execution: ExecutionOptions) -> FileFunction:
        from GPT_SoVITS.audio import write_wav
        from GPT_SoVITS.dataset.folder import write_tensor
        from GPT_SoVITS.dataset.loudness import TRAINING_RATE, content_audio, training_audio
        from GPT_SoVITS.features.hubert import Hubert

        model, audio, features = Path(self.model), Path(self.audio), Path(self.features)
        hubert = execution.models.get(
            ("hubert", *file_version(model), execution.device, self.half),
            lambda: Hubert.load(model, device=execution.device, half=self.half),
        )

        def process(path: Path) -> FileResult:
            samples = _read_at_training_rate(path)
            content = hubert.features_of(content_audio(samples))
            write_wav(audio / path.name, training_audio(samples), TRAINING_RATE)
            write_tensor(features, path.name, content.half() if hubert.half else content)
            return {}

        return _leaving_out_rejected(process)


@dataclass(frozen=True, slots=True)
class EncodeSpeaker(FileOperation):
    """Write a vector of the speaker's voice into `vectors`."""

    model: str
    vectors: str

    def load(self, execution: ExecutionOptions) -> FileFunction:
        import torch

        from GPT_SoVITS.dataset.folder import write_tensor
        from GPT_SoVITS.dataset.loudness import TRAINING_RATE, training_audio
        from GPT_SoVITS.features.eres2net import SAMPLE_RATE, ERes2NetV2
        from GPT_SoVITS.features.mel import resample

        model, vectors = Path(self.model), Path(self.vectors)
        network = execution.models.get(
            ("speaker", *file_version(model), execution.device),
            lambda: ERes2NetV2.load(model, device=execution.device),
        )

        def process(path: Path) -> FileResult:
            # The samples that `5-wav32k` holds.
            samples = torch.from_numpy(training_audio(_read_at_training_rate(path))).float() / 32768
            write_tensor(vectors, path.name, network.vector_of(resample(samples, TRAINING_RATE, SAMPLE_RATE)))
            return {}

        return _leaving_out_rejected(process)


OPERATIONS: dict[str, type[FileOperation]] = {
    operation.__name__: operation
    for operation in (SliceRecording, Denoise, Transcribe, EncodeContent, EncodeHubert, EncodeSpeaker)
}
"""By name, as another process is told which to load."""


def map_files(operation: FileOperation, paths: Sequence[Path], execution: ExecutionOptions) -> Generator[FileResult]:
    """Yield the results of all files, in their order, as they are ready."""
    process = operation.load(execution)
    pool = ThreadPoolExecutor(
        max(1, min(execution.num_workers, len(paths))), initializer=_limit_torch_threads, initargs=(execution,)
    )
    try:
        yield from pool.map(process, paths)
    finally:
        pool.shutdown(cancel_futures=True)


def _limit_torch_threads(execution: ExecutionOptions) -> None:
    """Set how many cores torch uses in this thread."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1 if execution.device == "cpu" else execution.threads)


def _read_at_training_rate(path: Path) -> np.ndarray:
    from GPT_SoVITS.audio import read_mono, resample
    from GPT_SoVITS.dataset.loudness import TRAINING_RATE

    samples, rate = read_mono(path)
    return resample(samples, rate, TRAINING_RATE)


def _leaving_out_rejected(process: FileFunction) -> FileFunction:
    """Return the same function; a file that a model rejects is left out, with the reason."""
    from GPT_SoVITS.errors import ModelError

    def process_or_leave_out(path: Path) -> FileResult:
        try:
            return process(path)
        except ModelError as error:
            return {"left_out": error.message}

    return process_or_leave_out
