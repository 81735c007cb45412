"""What is done to one sound file, by itself, so that any number of processes can share the files of a stage.

Each function here loads what it needs and returns the work; the work takes a file and answers with what JSON can say.
A file that nothing can be learnt from is answered with `{"left_out": reason}`. On a CPU a file is one core's work and
several are done at once: more cores for one file would add up in another order, and round otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from roles.runtime.model_cache import ModelCache, file_version

if TYPE_CHECKING:
    import numpy as np

Work = Callable[[Path], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Means:
    """What a work may use."""

    device: str = "cpu"
    """`cpu` or `cuda`; which GPU that is, the environment has already decided."""
    threads: int = 1
    """Files that are worked on at once on a CPU; a GPU takes one after the other."""
    models: ModelCache = field(default_factory=ModelCache)

    @property
    def hands(self) -> int:
        return 1 if self.device == "cuda" else self.threads


def slice_recording(options: dict[str, Any], means: Means) -> Work:
    """Cut at silences into `to`; `parameters` are those of audio_slice."""
    from GPT_SoVITS.audio import read_mono
    from GPT_SoVITS.dataset.slicer import Slicer, SliceSettings, write_segments

    parameters, to = options["parameters"], Path(options["to"])

    def work(path: Path) -> dict[str, Any]:
        samples, rate = read_mono(path)
        chunks = Slicer(rate, SliceSettings.from_parameters(parameters)).slice(samples)
        written, left_out = write_segments(
            chunks, to, rate, name=path.name, peak=parameters["_max"], mix=parameters["alpha"]
        )
        return {"written": written, "refused": left_out}

    return work


def denoise(options: dict[str, Any], means: Means) -> Work:
    """Write a copy without noise into `to`."""
    from GPT_SoVITS.dataset.denoise import Denoiser

    denoiser, to = Denoiser(), Path(options["to"])

    def work(path: Path) -> dict[str, Any]:
        denoiser.denoise(path, to / path.name)
        return {}

    return work


def transcribe(options: dict[str, Any], means: Means) -> Work:
    """Hear what is said, by the recogniser in the folder `model`, in the languages that are known by file name."""
    from GPT_SoVITS.dataset.transcribe import Transcriber

    folder, precision, languages = Path(options["model"]), options["precision"], options["languages"]
    transcriber = means.models.get(
        ("recogniser", *file_version(folder), precision, means.hands),
        lambda: Transcriber(folder, side_by_side=means.hands, precision=precision),
    )

    def work(path: Path) -> dict[str, Any]:
        heard = transcriber.transcribe(path, languages.get(path.name))
        if not heard.text:
            return {"left_out": "nobody speaks in it"}
        return {
            "text": heard.text,
            "language": heard.language,
            "seconds": heard.seconds,
            "confidence": heard.confidence,
        }

    return work


def encode_content(options: dict[str, Any], means: Means) -> Work:
    """nano's features by the encoder of the bundled Whisper into `features`, and the sound at `rate` into `sounds`."""
    from GPT_SoVITS.audio import read_mono, resample, write_wav
    from GPT_SoVITS.dataset.folder import write_features
    from GPT_SoVITS.features.whisper_content import SAMPLE_RATE, ContentEncoder

    folder, rate = Path(options["model"]), options["rate"]
    sounds, features = Path(options["sounds"]), Path(options["features"])
    encoder = means.models.get(
        ("content", *file_version(folder), means.hands), lambda: ContentEncoder(folder, side_by_side=means.hands)
    )

    def work(path: Path) -> dict[str, Any]:
        samples, found_rate = read_mono(path)
        write_features(features, path.name, encoder.encode(resample(samples, found_rate, SAMPLE_RATE)))
        write_wav(sounds / path.name, resample(samples, found_rate, rate), rate)
        return {}

    return _naming_refusals(work)


def encode_hubert(options: dict[str, Any], means: Means) -> Work:
    """The features of v1 to v4 into `features`, and the sound that training hears into `sounds`."""
    from GPT_SoVITS.audio import write_wav
    from GPT_SoVITS.dataset.folder import write_tensor
    from GPT_SoVITS.dataset.loudness import TRAINING_RATE, content_audio, training_audio
    from GPT_SoVITS.features.hubert import Hubert

    weights, half = Path(options["model"]), options["half"]
    sounds, features = Path(options["sounds"]), Path(options["features"])
    hubert = means.models.get(
        ("hubert", *file_version(weights), means.device, half),
        lambda: Hubert.load(weights, device=means.device, half=half),
    )

    def work(path: Path) -> dict[str, Any]:
        samples = _at_training_rate(path)
        sound, content = training_audio(samples), hubert.features_of(content_audio(samples))
        write_wav(sounds / path.name, sound, TRAINING_RATE)
        write_tensor(features, path.name, content.half() if hubert.half else content)
        return {}

    return _naming_refusals(work)


def hear_speaker(options: dict[str, Any], means: Means) -> Work:
    """A vector of the speaker's voice into `vectors`."""
    import torch

    from GPT_SoVITS.dataset.folder import write_tensor
    from GPT_SoVITS.dataset.loudness import TRAINING_RATE, training_audio
    from GPT_SoVITS.features.eres2net import SAMPLE_RATE, ERes2NetV2
    from GPT_SoVITS.features.mel import resample

    weights, vectors = Path(options["model"]), Path(options["vectors"])
    network = means.models.get(
        ("speaker", *file_version(weights), means.device), lambda: ERes2NetV2.load(weights, device=means.device)
    )

    def work(path: Path) -> dict[str, Any]:
        heard = torch.from_numpy(training_audio(_at_training_rate(path))).float() / 32768  # what `5-wav32k` holds
        write_tensor(vectors, path.name, network.vector_of(resample(heard, TRAINING_RATE, SAMPLE_RATE)))
        return {}

    return _naming_refusals(work)


WORKS: Final[dict[str, Callable[[dict[str, Any], Means], Work]]] = {
    "slice": slice_recording,
    "denoise": denoise,
    "transcribe": transcribe,
    "content": encode_content,
    "hubert": encode_hubert,
    "speaker": hear_speaker,
}


def do_each(work: str, paths: Sequence[Path], options: dict[str, Any], means: Means) -> Generator[dict[str, Any]]:
    """The answers to all files, in order, as they come."""
    do = WORKS[work](options, means)
    pool = ThreadPoolExecutor(max(1, min(means.hands, len(paths))), initializer=_one_core, initargs=(means,))
    try:
        yield from pool.map(do, paths)
    finally:
        pool.shutdown(cancel_futures=True)


def _one_core(means: Means) -> None:
    """What torch computes with, in this thread."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1 if means.device == "cpu" else means.threads)


def _at_training_rate(path: Path) -> np.ndarray:
    from GPT_SoVITS.audio import read_mono, resample
    from GPT_SoVITS.dataset.loudness import TRAINING_RATE

    samples, rate = read_mono(path)
    return resample(samples, rate, TRAINING_RATE)


def _naming_refusals(work: Work) -> Work:
    """The same work; what a model refuses to learn from is left out, with the reason."""
    from GPT_SoVITS.errors import ModelError

    def careful(path: Path) -> dict[str, Any]:
        try:
            return work(path)
        except ModelError as error:
            return {"left_out": error.message}

    return careful
