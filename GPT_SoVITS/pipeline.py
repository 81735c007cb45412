"""Text to audio in one voice, for every version: text → phonemes → semantic tokens → waveform.

A `Pipeline` owns one voice's models and no request state, so that two requests can never mix (specification
inference-pipeline §15.9). Sentences never influence one another: each sounds as it does alone, in whatever batch.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from GPT_SoVITS.audio import limit_peak
from GPT_SoVITS.configs.sections import read_section
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching.model import FlowMatchingSoVITS
from GPT_SoVITS.gpt.generate import MAX_TOKENS, SamplingSettings, generate_batch, stream_tokens
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.packed_weights import Precision
from GPT_SoVITS.sovits.compiled_generator import Runtime, compile_generator
from GPT_SoVITS.sovits.config import SpectrogramConfig
from GPT_SoVITS.synthesis.acoustic_decoder import (
    AcousticConditions,
    AcousticDecoder,
    AcousticStream,
    TokenClassifier,
    stream_audio,
)
from GPT_SoVITS.synthesis.conditioning import (
    ConditionedRequest,
    SamplingOverrides,
    SynthesisRequest,
    TextConditioner,
)
from GPT_SoVITS.synthesis.flow_decoder import FlowDecoder
from GPT_SoVITS.synthesis.helper_networks import HelperNetworks
from GPT_SoVITS.synthesis.length_batching import batch_by_length, restore_order
from GPT_SoVITS.synthesis.model_loading import ModelFileCache, load_models
from GPT_SoVITS.synthesis.model_store import ModelStore, UnlimitedStore
from GPT_SoVITS.synthesis.prompt import EncodedPrompt, ReferenceRecording
from GPT_SoVITS.synthesis.speech import Speech, nothing_spoken
from GPT_SoVITS.synthesis.token_chunking import NANO_CHUNKS, ChunkSettings, silence_similarity
from GPT_SoVITS.synthesis.verification.alignment import TokenEvidence
from GPT_SoVITS.synthesis.verification.attention import attention_evidence, shows_speech
from GPT_SoVITS.synthesis.verification.confusions import base_confusions
from GPT_SoVITS.synthesis.verification.verifier import Listen, TextToVerify
from GPT_SoVITS.synthesis.waveform_decoder import WaveformDecoder
from GPT_SoVITS.synthesis.word_timing import PeakLevels, SpokenWord
from GPT_SoVITS.text import InlinePronunciation
from GPT_SoVITS.text.symbols import PUNCTUATION, phoneme_ids
from GPT_SoVITS.vocoders import SuperResolution, Vocoder, load_vocoder

__all__ = [
    "ChunkSettings",
    "EncodedPrompt",
    "Pipeline",
    "SamplingOverrides",
    "SamplingSettings",
    "Speech",
    "SynthesisRequest",
]

TOKENS_PER_PHONEME = 2.5
"""Of usual speech, where no transcript of the prompt tells the voice's pace."""
BATCH_SIZE = 8
"""Utterances that are synthesized at once, where a caller says no other number."""


class Pipeline:
    """A GPT and a SoVITS checkpoint that belong together, ready to speak."""

    def __init__(
        self,
        gpt: Text2Semantic,
        decoder: AcousticDecoder,
        helpers: HelperNetworks,
        *,
        version: str,
        spectrograms: SpectrogramConfig,
        precision: Precision = "auto",
    ) -> None:
        """Combine two stages that are on one device.

        Args:
            version: Of the SoVITS model.
            spectrograms: How the style encoder's spectrograms are computed.
            precision: In which the GPT decodes.
        """
        self.gpt = gpt
        self.decoder = decoder
        self.helpers = helpers
        self.version = version
        self.spectrograms = spectrograms
        self.precision = precision
        self.device = gpt.device
        self.sample_rate = decoder.sample_rate
        self.conditioner = TextConditioner(version, helpers, self.device)
        self._pauses = phoneme_ids(tuple(PUNCTUATION), "v1" if version == "v1" else "v2")
        self.key: Hashable | None = None
        """Stands for the same checkpoints wherever it is equal; None for no others."""

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
        store: ModelStore | None = None,
        cache: ModelFileCache | None = None,
        runtime: Runtime = "torch",
        threads: int = 0,
    ) -> Pipeline:
        """Map both files, ours or official ones, and make them ready on `device`.

        Args:
            models: Folder of official weights: v3 and v4 take their vocoder and the base of a LoRA from there, and new
                prompts their helper networks.
            precision: `auto` (what suits the device), `fp32`, `fp16`, `bf16` or `int8`.
            helpers: Networks to share with other voices.
            store: Finds a GPT or a vocoder that another voice has loaded.
            cache: Keeps what is made of the files, for all processes of the host.
            runtime: What computes the generator on a CPU: PyTorch, or what is fastest (`auto`), in bfloat16 unless the
                precision is `fp32`.
            threads: Cores that a runtime other than PyTorch may use; 0 for as many as PyTorch.

        Raises:
            ModelError: "wrong_checkpoint" for files that are no GPT and SoVITS of one family, "missing_part",
                "bad_precision", and those of `open_checkpoint`.
        """
        store = UnlimitedStore() if store is None else store
        voice = load_models(
            gpt_path, sovits_path, models=models, device=device, precision=precision, store=store, cache=cache
        )
        spectrograms = read_section(SpectrogramConfig, voice.recipe["data"], extra=True)
        decoder: AcousticDecoder
        if isinstance(voice.sovits, FlowMatchingSoVITS):
            vocoder = _shared_vocoder(voice.version, models, device, store)
            decoder = FlowDecoder(voice.sovits, vocoder, voice.recipe, version=voice.version)
        else:
            # nano's codebook is its own, and nobody knows which of its tokens is silence.
            embedding = voice.gpt.model.ar_audio_embedding.word_embeddings.weight
            similarity = None if voice.version == "nano" else silence_similarity(embedding)
            if runtime == "auto" and voice.device.type == "cpu":
                threads = threads or torch.get_num_threads()
                compiled = compile_generator(voice.sovits.dec, exact=precision == "fp32", threads=threads)
                voice.sovits.dec = compiled or voice.sovits.dec
            decoder = WaveformDecoder(voice.sovits, spectrograms.sampling_rate, silence_similarity=similarity)
        return cls(
            voice.gpt,
            decoder,
            helpers or HelperNetworks(models, device=device, store=store),
            version=voice.version,
            spectrograms=spectrograms,
            precision=voice.precision,
        )

    @torch.inference_mode()
    def prepare_prompt(
        self,
        recording: Path,
        text: str,
        language: str,
        *,
        others: Sequence[Path] = (),
        timbre: Path | None = None,
        tokens: list[int] | None = None,
    ) -> EncodedPrompt:
        """Encode a reference recording and its transcript.

        Args:
            recording: Audio file.
            text: Its transcript. It may be empty but for v3 and v4. nano does not read it: its GPT goes on best from
                nothing, and the recording gives the style.
            others: More recordings of the voice, averaged into the style (not v3 and v4).
            timbre: A recording whose timbre the speech has, in place of the prompt's own and the others': the prompt
                gives the manner alone (v1, v2 and the v2Pro family).
            tokens: Semantic tokens of the recording, where they were computed before; they save the content encoder.

        Raises:
            ModelError: "bad_prompt", "missing_part" and those of `process`.
        """
        self.decoder.check_prompt(text, 1 + len(others))
        recordings = [ReferenceRecording.read(path, self.version) for path in (recording, *others)]
        styles = recordings if timbre is None else [ReferenceRecording.read(timbre, self.version)]
        if self.version == "nano":
            tokens, text = [], ""
        elif tokens is None:
            features = self.helpers.content_features(recordings[0].content_samples()).to(self.device)
            tokens = self.decoder.encode_content(features).tolist()
        prompt_tokens = torch.tensor(tokens, dtype=torch.long, device=self.device)
        phones, bert = prompt_tokens[:0], None
        if text.strip():
            phones, bert, _ = self.conditioner.encode_text(text, language)
        spectrograms = [item.style_spectrogram(self.spectrograms).to(self.device) for item in styles]
        speaker_vectors = None
        if self.decoder.needs_speaker_vector:
            speaker_vectors = [self.helpers.speaker_vector(item.speaker_samples()).to(self.device) for item in styles]
        style = self.decoder.encode_style(spectrograms, speaker_vectors)
        mel = self.decoder.encode_mel_prompt(recordings[0], prompt_tokens, phones, style)
        clear = False
        if len(prompt_tokens) and len(phones) and (weights := self.decoder.attend(prompt_tokens, phones)) is not None:
            clear = shows_speech(weights, self._is_pause(phones))
        return EncodedPrompt(prompt_tokens, phones, style, bert, mel, clear)

    def speak(
        self,
        text: str,
        language: str,
        prompt: EncodedPrompt,
        *,
        seed: int,
        speed: float = 1.0,
        inline_pronunciations: Sequence[InlinePronunciation] = (),
    ) -> Speech:
        """Speak one utterance; the same seed gives the same samples whatever else the process does.

        Raises:
            ModelError: those of `speak_batch`.
        """
        return self.speak_batch(
            [SynthesisRequest(text, language, prompt, seed, speed, inline_pronunciations=inline_pronunciations)]
        )[0]

    @torch.inference_mode()
    def speak_batch(self, requests: Sequence[SynthesisRequest], *, batch_size: int = BATCH_SIZE) -> list[Speech]:
        """Speak several utterances, `batch_size` of about one length at a time; each sounds as it does alone.

        Raises:
            ModelError: those of `process`, "missing_part", "wrong_symbols", "nothing_spoken".
        """
        utterances = [self.conditioner.condition(request) for request in requests]
        batches = batch_by_length([len(utterance.phones) for utterance in utterances], batch_size)
        return restore_order(batches, [self._speak_together([utterances[i] for i in batch]) for batch in batches])

    def stream(self, request: SynthesisRequest, *, chunks: ChunkSettings | None = None) -> Iterator[Speech]:
        """Speak one utterance and yield its chunks, in order, while its tokens are generated.

        v3 and v4 first generate all tokens, and then yield the audio of each chunk of theirs; with `super_sampling` the
        whole utterance is one chunk. Closing the iterator stops the work.

        Raises:
            ModelError: those of `speak_batch`.
        """
        chunks = self.possible_chunks(request, chunks or self.default_chunks)
        if chunks is None:
            yield from self.speak_batch([request])
            return
        utterance = self.conditioner.condition(request)
        skipped, timer, levels = utterance.skipped, utterance.word_timer(), PeakLevels(self.sample_rate)
        for piece in stream_audio(self.open_stream(utterance, chunks), self._stream_tokens(utterance)):
            words = timer.add(piece.spoken, levels.add(piece.wave), last=piece.last)
            yield self.to_speech(piece.wave, piece.tokens, request, skipped, words)
            skipped = []

    @property
    def default_chunks(self) -> ChunkSettings:
        """How an utterance is cut into chunks where nobody says it."""
        return NANO_CHUNKS if self.version == "nano" else ChunkSettings()

    def possible_chunks(self, request: SynthesisRequest, chunks: ChunkSettings | None) -> ChunkSettings | None:
        """Return how an utterance is cut into chunks when `chunks` is asked for; None for one chunk."""
        return None if self._super_resolution(request) is not None else chunks

    def output_rate(self, request: SynthesisRequest) -> int:
        """Return the rate, in Hz, at which an utterance is delivered."""
        super_resolution = self._super_resolution(request)
        return self.sample_rate if super_resolution is None else super_resolution.sample_rate

    def text_to_verify(self, utterance: ConditionedRequest) -> TextToVerify:
        """Return what an utterance should say, as a verifier reads it."""
        prompt, phones = utterance.request.prompt, utterance.phones.cpu().numpy()
        listen: Listen | None = None
        if (classify := self.decoder.token_classifier) is not None:
            listen = partial(self._listen, classify, phones)
        elif prompt.shows_speech:
            listen = partial(self._attend, utterance.phones)
        pace = TOKENS_PER_PHONEME
        if len(prompt.phones) and len(prompt.tokens):
            pace = len(prompt.tokens) / len(prompt.phones)
        early_stop = utterance.sampling.early_stop_num
        return TextToVerify(
            is_pause=self._is_pause(utterance.phones),
            predicted_tokens=pace * len(phones),
            limit=MAX_TOKENS if early_stop == -1 else min(MAX_TOKENS, early_stop + 1),
            listen=listen,
            early=classify is not None,
        )

    def _is_pause(self, phones: Tensor) -> np.ndarray:
        """Return which phonemes (S,) are punctuation."""
        return np.isin(phones.cpu().numpy(), self._pauses)

    def _attend(self, phones: Tensor, tokens: Sequence[int]) -> TokenEvidence:
        """Return how well tokens fit the phonemes of a text by attention."""
        weights = self.decoder.attend(torch.tensor(tokens, dtype=torch.long, device=phones.device), phones)
        assert weights is not None
        return attention_evidence(weights)

    def _listen(self, classify: TokenClassifier, phones: np.ndarray, tokens: Sequence[int]) -> TokenEvidence:
        """Return how well tokens fit the phonemes of a text."""
        log_probs = classify(tokens)
        pause = np.logaddexp.reduce(log_probs[:, self._pauses], axis=1)
        log_probs[:, self._pauses] = pause[:, None]
        fit = base_confusions().fit(log_probs, phones)
        return TokenEvidence(fit, log_probs.max(axis=1), log_probs.argmax(axis=1))

    def open_stream(self, utterance: ConditionedRequest, chunks: ChunkSettings | None) -> AcousticStream:
        """Begin the second stage of an utterance; without `chunks` it has the samples of `speak`."""
        return self.decoder.open_stream(self._acoustic_conditions(utterance), chunks)

    def to_speech(
        self,
        wave: Tensor,
        tokens: int,
        request: SynthesisRequest,
        skipped: Sequence[tuple[int, str]] = (),
        words: Sequence[SpokenWord] = (),
    ) -> Speech:
        """Return a wave (N,) of so many new tokens as its listener gets it; waits for the device."""
        rate = self.sample_rate
        super_resolution = self._super_resolution(request)
        if super_resolution is not None:
            wave, rate = super_resolution(wave[None].to(self.device))[0], super_resolution.sample_rate
        return Speech(limit_peak(wave.float().cpu().numpy()), rate, tokens, list(skipped), tuple(words))

    def _speak_together(self, utterances: list[ConditionedRequest]) -> list[Speech]:
        """Speak a batch of utterances through both stages."""
        tokens = self._generate_tokens(utterances)
        pieces = self.decoder.decode_aligned(tokens, [self._acoustic_conditions(utterance) for utterance in utterances])
        return [
            self.to_speech(
                piece.wave,
                piece.tokens,
                utterance.request,
                utterance.skipped,
                utterance.word_timer().add(piece.spoken, PeakLevels(self.sample_rate).add(piece.wave), last=True),
            )
            for piece, utterance in zip(pieces, utterances, strict=True)
        ]

    def _super_resolution(self, request: SynthesisRequest) -> SuperResolution | None:
        """Return the network that extends the audio of a request; only v3 has one."""
        return self.helpers.super_resolution() if request.super_sampling and self.version == "v3" else None

    def _generate_tokens(self, utterances: list[ConditionedRequest]) -> list[Tensor]:
        """Generate the semantic tokens (T_i,) of a batch. Raises ModelError("nothing_spoken")."""
        tokens = generate_batch(
            self.gpt,
            [utterance.gpt_input for utterance in utterances],
            [utterance.sampling for utterance in utterances],
            [utterance.request.noise for utterance in utterances],
            precision=self.precision,
        )
        for utterance, row in zip(utterances, tokens):
            if len(row) == 0:
                raise nothing_spoken(utterance)
        return tokens

    def _stream_tokens(self, utterance: ConditionedRequest) -> Iterator[int]:
        """Yield the semantic tokens of one utterance as they are generated. Raises ModelError("nothing_spoken")."""
        count = 0
        for token in stream_tokens(
            self.gpt,
            utterance.gpt_input,
            utterance.sampling,
            utterance.request.noise,
            precision=self.precision,
        ):
            count += 1
            yield token
        if count == 0:
            raise nothing_spoken(utterance)

    def _acoustic_conditions(self, utterance: ConditionedRequest) -> AcousticConditions:
        request = utterance.request
        return AcousticConditions(
            phones=utterance.phones,
            style=request.prompt.style,
            noise=request.noise,
            speed=request.speed,
            mel_prompt=request.prompt.mel,
            steps=request.steps,
        )


def _shared_vocoder(version: str, models: Path | None, device: torch.device | str, store: ModelStore) -> Vocoder:
    """Return the vocoder of v3 or v4, which all voices share; raise ModelError `missing_part`."""
    if models is None:
        raise ModelError("missing_part", f"{version} needs a vocoder, and no folder of models was named to find it.")
    return store.share("vocoder", (version, str(device)), partial(load_vocoder, version, models, device=device))
