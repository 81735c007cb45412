"""Synthesis, read from top to bottom: text → phonemes → semantic tokens → waveform.

A `Pipeline` owns one voice's two models and no request state, so that two requests can never mix
(specification inference-pipeline §15.9). One call speaks one utterance; sentences never influence one another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from GPT_SoVITS.audio import read_mono, resample
from GPT_SoVITS.checkpoint import Checkpoint, load_checkpoint
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.content import ContentEncoder
from GPT_SoVITS.features.mel import spectrogram
from GPT_SoVITS.gpt.generate import SamplingSettings, generate
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.sovits.model import SoVITS
from GPT_SoVITS.text import process

TOKENS_PER_SECOND = 25
PROMPT_SECONDS = (1.0, 30.0)
"""Shortest and longest reference recording that is accepted."""
PLAIN_RATE = 2.5
"""Tokens a phoneme where no prompt says how fast its speaker is: ten phonemes a second."""
SLOWEST_FASTEST = (1.0, 8.0)
"""Bounds of that rate: 25 phonemes a second to 3 (specification s1-gpt §10.2)."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A reference recording as the models read it; computed once per voice."""

    tokens: torch.Tensor
    """(P,) semantic tokens of the recording."""
    phones: torch.Tensor
    """(N,) phoneme ids of its transcript; empty when there is none."""
    style: torch.Tensor
    """(1, G, 1) style vector."""


@dataclass(frozen=True, slots=True)
class Speech:
    """One spoken utterance."""

    samples: np.ndarray
    """(N,) float32 in [-1, 1]."""
    sample_rate: int
    tokens: int
    """Semantic tokens that the first stage produced, 25 to the second."""
    skipped: list[tuple[int, str]] = field(default_factory=list)
    """(position, text) of what no phonemiser could read."""


class Pipeline:
    """A GPT and a SoVITS checkpoint that belong together, ready to speak."""

    def __init__(self, gpt: Text2Semantic, sovits: SoVITS, *, version: str, sovits_config: dict) -> None:
        self.gpt = gpt
        self.sovits = sovits
        self.version = version
        self.data = sovits_config["data"]
        self.sample_rate = int(self.data["sampling_rate"])

    @classmethod
    def load(cls, gpt_path: Path, sovits_path: Path) -> Pipeline:
        """Map both files; raises ModelError when they are not a GPT and a SoVITS of one version."""
        gpt_file, sovits_file = load_checkpoint(gpt_path), load_checkpoint(sovits_path)
        _check_pair(gpt_file, sovits_file)
        gpt = Text2Semantic(gpt_file.config)
        gpt.load_state_dict(_float32(gpt_file.state), strict=True, assign=True)
        sovits = SoVITS.from_config(sovits_file.config, posterior=False)
        sovits.load_state_dict(_float32(sovits_file.state), strict=True, assign=True)
        sovits.eval().fold_weight_norm()
        return cls(gpt.eval(), sovits, version=sovits_file.version, sovits_config=sovits_file.config)

    @torch.inference_mode()
    def prepare_prompt(
        self,
        recording: Path,
        text: str,
        language: str,
        *,
        encoder: ContentEncoder | None,
        tokens: list[int] | None = None,
    ) -> Prompt:
        """Read a reference recording. `tokens`, when they are known already, save the content encoder."""
        samples, rate = read_mono(recording)
        seconds = len(samples) / rate
        if not PROMPT_SECONDS[0] <= seconds <= PROMPT_SECONDS[1]:
            raise ModelError(
                "bad_prompt",
                f"The reference recording lasts {seconds:.1f} s.",
                hint=f"{PROMPT_SECONDS[0]:.0f} to {PROMPT_SECONDS[1]:.0f} s work.",
            )
        if tokens is None:
            if encoder is None:
                raise ModelError("bad_prompt", "A reference without tokens needs the content encoder.")
            tokens = self._encode(encoder, resample(samples, rate, 16_000))
        phones = process(text, language).ids if text.strip() else []
        return Prompt(
            tokens=torch.tensor(tokens, dtype=torch.long),
            phones=torch.tensor(phones, dtype=torch.long),
            style=self.sovits.style([self._spectrogram(resample(samples, rate, self.sample_rate))]),
        )

    @torch.inference_mode()
    def speak(self, text: str, language: str, prompt: Prompt, *, seed: int, speed: float = 1.0) -> Speech:
        """Speak one utterance; the same seed gives the same samples whatever else the process does."""
        spoken = process(text, language)
        target = torch.tensor(spoken.ids, dtype=torch.long)
        tokens = self._generate(target, prompt, torch.Generator().manual_seed(seed))
        wave = self.sovits.decode(
            tokens[None, None],  # (1, 1, T)
            target[None],  # (1, S)
            ge=prompt.style,
            speed=speed,
            generator=torch.Generator().manual_seed(seed),
        )
        samples = wave[0, 0].numpy()
        return Speech(limit_peak(samples), self.sample_rate, len(tokens), list(spoken.skipped))

    def _generate(self, target: torch.Tensor, prompt: Prompt, generator: torch.Generator) -> torch.Tensor:
        with_prompt = len(prompt.phones) > 0
        phones = torch.cat([prompt.phones, target]) if with_prompt else target
        tokens = generate(
            self.gpt,
            phones,
            None,  # BERT features exist for Mandarin alone, from a model that is optional
            prompt.tokens if with_prompt else None,
            _limits(len(target), prompt),
            generator=generator,
        )
        if len(tokens) == 0:
            raise ModelError("nothing_spoken", "The model ended before the first sound.", permanent=False)
        return tokens

    def _encode(self, encoder: ContentEncoder, samples: np.ndarray) -> list[int]:
        features = torch.from_numpy(encoder.encode(samples)).T[None]  # (1, C, T)
        return self.sovits.extract_codes(features)[0, 0].tolist()

    def _spectrogram(self, samples: np.ndarray) -> torch.Tensor:
        return spectrogram(
            torch.from_numpy(samples)[None],
            n_fft=self.data["filter_length"],
            hop=self.data["hop_length"],
            win=self.data["win_length"],
        )


def limit_peak(samples: np.ndarray) -> np.ndarray:
    """Scale down what would clip (inference-pipeline §10); never up."""
    peak = float(np.abs(samples).max(initial=0.0))
    return samples / peak if peak > 1.0 else samples


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Scale by 32767, so that +1.0 never wraps (inference-pipeline §15.1)."""
    return np.clip(np.rint(samples * 32767.0), -32768, 32767).astype(np.int16)


def _limits(phones: int, prompt: Prompt) -> SamplingSettings:
    """Nobody takes less than 0.6 or more than twice the time of the prompt's own rate: what would end sooner has
    skipped words, what goes on a second longer than that has lost its way."""
    rate = len(prompt.tokens) / len(prompt.phones) if len(prompt.phones) else PLAIN_RATE
    rate = min(max(rate, SLOWEST_FASTEST[0]), SLOWEST_FASTEST[1])
    return SamplingSettings(
        fewest_tokens=max(11, int(0.6 * rate * phones)),
        early_stop_num=min(1500, TOKENS_PER_SECOND + int(2 * rate * phones)),
    )


def _check_pair(gpt: Checkpoint, sovits: Checkpoint) -> None:
    for file, kind in ((gpt, "gpt"), (sovits, "sovits")):
        if file.kind != kind:
            raise ModelError("wrong_checkpoint", f"A {kind} checkpoint was expected; this one is a {file.kind}.")
    if gpt.version != sovits.version:
        raise ModelError(
            "wrong_checkpoint",
            f"The GPT checkpoint is {gpt.version}, the SoVITS checkpoint {sovits.version}; one version is needed.",
        )


def _float32(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
