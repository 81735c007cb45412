"""Synthesis, read from top to bottom: text → phonemes → semantic tokens → waveform, for every version.

A `Pipeline` owns one voice's two models and no request state, so that two requests can never mix (specification
inference-pipeline §15.9). Sentences never influence one another: each sounds as it does alone, in whatever batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.generate import SamplingSettings, generate_batch, stream_tokens
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.packed_weights import Precision
from GPT_SoVITS.synthesis.conditioning import Reader, SynthesisRequest, Task
from GPT_SoVITS.synthesis.flow_decoder import FlowLine, FlowVoice
from GPT_SoVITS.synthesis.helper_networks import HelperNetworks
from GPT_SoVITS.synthesis.length_batching import buckets, restore
from GPT_SoVITS.synthesis.model_loading import FLOW_VERSIONS, load_models
from GPT_SoVITS.synthesis.prompt import EncodedPrompt, Recording
from GPT_SoVITS.synthesis.samples import limit_peak
from GPT_SoVITS.synthesis.streaming_decoder import ChunkSettings, Cutter, Stream, silence_likeness, speak_chunks
from GPT_SoVITS.synthesis.waveform_decoder import Line, decode
from GPT_SoVITS.text import Reading
from GPT_SoVITS.vocoders import Vocoder, load_vocoder

__all__ = ["ChunkSettings", "EncodedPrompt", "Pipeline", "SamplingSettings", "Speech", "SynthesisRequest"]

BATCH_SIZE = 8
"""Utterances that are worked on at once, where a caller says no other number."""


@dataclass(frozen=True, slots=True)
class Speech:
    """One spoken utterance, or a chunk of one."""

    samples: np.ndarray
    """(N,) float32 in [-1, 1]."""
    sample_rate: int
    tokens: int
    """Semantic tokens that the first stage produced, 25 to the second."""
    skipped: list[tuple[int, str]] = field(default_factory=list)
    """(position, text) of what no phonemiser could read."""


class Pipeline:
    """A GPT and a SoVITS checkpoint that belong together, ready to speak."""

    def __init__(
        self,
        gpt: Text2Semantic,
        sovits: Any,
        *,
        version: str,
        sovits_config: dict[str, Any],
        device: torch.device | str = "cpu",
        helpers: HelperNetworks | None = None,
        vocoder: Vocoder | None = None,
        precision: Precision = "auto",
    ) -> None:
        """`sovits` is a SoVITS or, with a `vocoder`, a FlowMatchingSoVITS; both models are on `device`."""
        self.gpt = gpt
        self.sovits = sovits
        self.version = version
        self.data = sovits_config["data"]
        self.device = torch.device(device)
        self.precision = precision
        self.helpers = helpers or HelperNetworks(None, device=device)
        self.reader = Reader(version, self.helpers, self.device)
        self.flow = None if vocoder is None else FlowVoice(sovits, vocoder, sovits_config)
        self.sample_rate = int(self.data["sampling_rate"]) if self.flow is None else self.flow.sample_rate
        # nano's codebook is its own, and nobody knows which of its tokens is silence.
        embedding = gpt.model.ar_audio_embedding.word_embeddings.weight
        self.likeness = None if version == "nano" else silence_likeness(embedding)

    @classmethod
    def load(
        cls,
        gpt_path: Path,
        sovits_path: Path,
        *,
        models: Path | None = None,
        device: torch.device | str = "cpu",
        precision: str = "auto",
        helpers: HelperNetworks | None = None,
    ) -> Pipeline:
        """Map both files, ours or official ones, and make them ready on `device`.

        `models` is the folder of official weights: v3 and v4 take their vocoder and the base of a LoRA from there, and
        new prompts their helper networks. `precision` is `auto` (half on a GPU), `fp32`, `fp16` or `bf16`.
        Raises ModelError: "wrong_checkpoint" for files that are no GPT and SoVITS of one family, "missing_part",
        "bad_precision", and those of `open_checkpoint`.
        """
        loaded = load_models(gpt_path, sovits_path, models=models, device=device, precision=precision)
        vocoder = None
        if loaded.version in FLOW_VERSIONS:
            if models is None:
                raise ModelError(
                    "missing_part", f"{loaded.version} needs a vocoder, and no folder of models was named to find it."
                )
            vocoder = load_vocoder(loaded.version, models, device=device)
        return cls(
            loaded.gpt,
            loaded.sovits,
            version=loaded.version,
            sovits_config=loaded.config,
            device=loaded.device,
            helpers=helpers or HelperNetworks(models, device=device),
            vocoder=vocoder,
            precision=loaded.precision,
        )

    # References

    @torch.inference_mode()
    def prepare_prompt(
        self,
        recording: Path,
        text: str,
        language: str,
        *,
        others: Sequence[Path] = (),
        tokens: list[int] | None = None,
    ) -> EncodedPrompt:
        """Read a reference recording and its transcript, which may be empty but for v3 and v4, and which nano does not
        read: its GPT goes on best from nothing, and the recording gives the style.

        `others` are more recordings of the voice, averaged into the style (not v3 and v4). `tokens`, when they are
        known already, save the content encoder. Raises ModelError "bad_prompt", "missing_part" and those of `process`.
        """
        self._check_prompt(text, others)
        sounds = [Recording.read(path, self.version) for path in (recording, *others)]
        if self.version == "nano":
            tokens, text = [], ""
        elif tokens is None:
            tokens = self._read_tokens(sounds[0])
        known = torch.tensor(tokens, dtype=torch.long, device=self.device)
        phones, bert = known[:0], None
        if text.strip():
            phones, bert, _ = self.reader.read_text(text, language)
        style = self._style(sounds)
        return EncodedPrompt(
            tokens=known,
            phones=phones,
            style=style,
            bert=bert,
            mel=None if self.flow is None else self.flow.prepare(sounds[0], known, phones, style),
        )

    def _check_prompt(self, text: str, others: Sequence[Path]) -> None:
        if self.flow is None:
            return
        if not text.strip():
            raise ModelError("bad_prompt", f"{self.version} needs the transcript of its reference recording.")
        if others:
            raise ModelError(
                "bad_prompt",
                f"{self.version} continues one reference recording; {len(others)} more were given.",
                hint="v1, v2 and the v2Pro family take several.",
            )

    def _read_tokens(self, sound: Recording) -> list[int]:
        features = self.helpers.content_features(sound.for_tokens()).to(self.device)
        return self.sovits.extract_codes(features)[0, 0].tolist()

    def _style(self, sounds: Sequence[Recording]) -> Tensor:
        spectrograms = [sound.for_style(self.data).to(self.device) for sound in sounds]
        if not getattr(self.sovits, "speaker_vector", False):
            return self.sovits.style(spectrograms)
        vectors = [self.helpers.speaker_vector(sound.for_speaker()).to(self.device) for sound in sounds]
        return self.sovits.style(spectrograms, vectors)

    # Speaking

    def speak(
        self,
        text: str,
        language: str,
        prompt: EncodedPrompt,
        *,
        seed: int,
        speed: float = 1.0,
        readings: Sequence[Reading] = (),
    ) -> Speech:
        """Speak one utterance; the same seed gives the same samples whatever else the process does."""
        return self.speak_batch([SynthesisRequest(text, language, prompt, seed, speed, readings=readings)])[0]

    @torch.inference_mode()
    def speak_batch(self, utterances: Sequence[SynthesisRequest], *, batch_size: int = BATCH_SIZE) -> list[Speech]:
        """Speak several utterances, `batch_size` of about one length at a time; each sounds as it does alone.

        Raises ModelError: those of `process`, "missing_part", "wrong_symbols", "nothing_spoken".
        """
        tasks = [self.reader.read(utterance) for utterance in utterances]
        batches = buckets([len(task.phones) for task in tasks], batch_size)
        return restore(batches, [self._speak_tasks([tasks[i] for i in batch]) for batch in batches])

    def stream(
        self,
        utterance: SynthesisRequest,
        *,
        chunks: ChunkSettings | None = None,
    ) -> Iterator[Speech]:
        """Speak one utterance chunk by chunk, while its tokens are being made; the chunks are put on end to end.

        v3 and v4 first make all tokens, and then give the sound of each chunk of theirs. Closing
        the iterator stops the work.
        """
        task = self.reader.read(utterance)
        if self.flow is not None:
            yield from self._stream_flow(task)
        else:
            yield from self._stream(task, chunks or ChunkSettings())

    def _speak_tasks(self, tasks: list[Task]) -> list[Speech]:
        made = self._tokens(tasks)
        if self.flow is not None:
            waves = self.flow.speak([self._flow_line(task, tokens) for task, tokens in zip(tasks, made)])
        else:
            waves = decode(
                self.sovits,
                [
                    Line(
                        tokens,
                        task.phones,
                        task.utterance.prompt.style,
                        task.utterance.speed,
                        task.utterance.generator(),
                    )
                    for task, tokens in zip(tasks, made)
                ],
            )
        return [self._speech(wave, len(tokens), task.skipped) for task, tokens, wave in zip(tasks, made, waves)]

    def _flow_line(self, task: Task, tokens: Tensor) -> FlowLine:
        one = task.utterance
        return FlowLine(tokens, task.phones, one.prompt, task.utterance.generator(), one.speed, one.steps)

    def _tokens(self, tasks: list[Task]) -> list[Tensor]:
        """(T_i,) generated tokens, made side by side."""
        made = generate_batch(
            self.gpt,
            [task.row for task in tasks],
            [task.settings for task in tasks],
            generators=[task.utterance.generator() for task in tasks],
            precision=self.precision,
        )
        for task, tokens in zip(tasks, made):
            if len(tokens) == 0:
                raise _nothing_spoken(task)
        return made

    def _stream(self, task: Task, chunks: ChunkSettings) -> Iterator[Speech]:
        one = task.utterance
        sound = Stream(
            self.sovits,
            task.phones,
            one.prompt.style,
            speed=one.speed,
            generator=one.generator(),
            settings=chunks,
        )
        made = self._token_chunks(task, chunk_length=1)
        skipped, spoken = task.skipped, 0
        for wave, count in speak_chunks(made, Cutter(chunks, self.likeness), sound):
            spoken += count
            if not spoken:
                raise _nothing_spoken(task)
            yield self._speech(wave, count, skipped)
            skipped = []

    def _token_chunks(self, task: Task, **cuts: Any) -> Iterator[tuple[Tensor | None, bool]]:
        return stream_tokens(
            self.gpt, task.row, task.settings, generator=task.utterance.generator(), precision=self.precision, **cuts
        )

    def _stream_flow(self, task: Task) -> Iterator[Speech]:
        assert self.flow is not None
        tokens = self._tokens([task])[0]
        count, skipped = len(tokens), task.skipped
        for wave in self.flow.stream(self._flow_line(task, tokens)):
            yield self._speech(wave, count, skipped)
            count, skipped = 0, []

    def _speech(self, wave: Tensor, tokens: int, skipped: list[tuple[int, str]]) -> Speech:
        return Speech(limit_peak(wave.float().cpu().numpy()), self.sample_rate, tokens, list(skipped))


def _nothing_spoken(task: Task) -> ModelError:
    return ModelError(
        "nothing_spoken", f"The model ended before the first sound of {task.utterance.text[:40]!r}.", permanent=False
    )
