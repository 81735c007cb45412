"""The attempts of the first stage at one utterance: the next one when there are faults, else the best of them.

What an attempt does depends on its number alone, so the same request gives the same speech again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from GPT_SoVITS.engine.verification import VerificationReport, VerificationSettings
from GPT_SoVITS.gpt.generate import GenerationInput, SamplingSettings
from GPT_SoVITS.noise import SeededNoise
from GPT_SoVITS.synthesis.conditioning import ConditionedRequest
from GPT_SoVITS.synthesis.verification.coverage import TokenFault
from GPT_SoVITS.synthesis.verification.faults import Fault, severity
from GPT_SoVITS.synthesis.verification.verifier import TextToVerify, TokenVerifier, in_seconds, is_repeated

SEED_STEP = 0x9E3779B1
"""Between the seeds of two attempts."""
CALM_TEMPERATURE, CALM_PENALTY = 0.7, 0.15
"""What the temperature is multiplied by, and what is added to the repetition penalty where there is one."""
SPLIT_ATTEMPT = 3
"""The attempt that generates both halves of the utterance by themselves."""
SHORTEST_HALF = 8
"""Phonemes."""


class GenerationRow(NamedTuple):
    """What a batch needs to generate tokens."""

    row: GenerationInput
    settings: SamplingSettings
    noise: SeededNoise
    forced: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An attempt that has faults."""

    number: int
    tokens: list[int]
    complete: bool
    faults: list[Fault]
    token_faults: tuple[TokenFault, ...] = ()
    """Those of them that the tokens show."""


class Attempts:
    """The tokens of one utterance, attempt by attempt; without settings there is one, which nothing verifies."""

    def __init__(
        self,
        conditioned: ConditionedRequest,
        settings: VerificationSettings | None,
        text: TextToVerify,
        *,
        first: int,
    ) -> None:
        """`first`: tokens that the first audio needs; 0 where the utterance is delivered as a whole."""
        self._conditioned = conditioned
        self._settings = settings
        self._text = text
        self._first = first
        self.number = 0
        """Of the attempt, from 0."""
        self.tokens: list[int] = []
        """Of the attempt, all its parts."""
        self.finished = False
        """Whether all tokens are there."""
        self.released = 0
        """Tokens that the second stage may have; they stay."""
        self._highest = 0
        self._parts = [conditioned.gpt_input]
        self._part = 0
        self._part_start = 0
        """Tokens of the parts before."""
        self._forced: list[int] = []
        self._verifier = None if settings is None else TokenVerifier(text, first)
        self._candidates: list[_Candidate] = []
        self._dropped: list[Fault] = []
        self._settled = settings is None
        """Whether no attempt follows."""
        self._seconds = 0.0

    def row(self) -> GenerationRow:
        """Return what the batch generates now."""
        sampling, number = self._conditioned.sampling, self.number
        if number >= 2:
            penalty = sampling.repetition_penalty
            sampling = replace(
                sampling,
                temperature=CALM_TEMPERATURE * sampling.temperature,
                repetition_penalty=penalty if penalty == 1 else penalty + CALM_PENALTY,
            )
        seed = self._conditioned.request.seed + SEED_STEP * (number + len(self._parts) * self._part)
        forced = [] if self._part else self._forced
        return GenerationRow(self._parts[self._part], sampling, SeededNoise(seed), forced)

    def take_tokens(self, tokens: Sequence[int], *, finished: bool) -> bool:
        """Take the tokens so far of the row; return whether it must leave its batch, for another one or for none."""
        self.tokens += tokens[len(self.tokens) - self._part_start :]
        if finished and self._part + 1 < len(self._parts):
            self._part, self._part_start = self._part + 1, len(self.tokens)
            return True
        self.finished = finished
        if self._settled or self._verifier is None or not self.tokens:
            self.released = len(self.tokens)
            return False
        started = time.perf_counter()
        self._verify(finished=finished and self._part + 1 == len(self._parts))
        self._seconds += time.perf_counter() - started
        self.released = max(self.released, self._verifier.released)
        if not self._verifier.faults:
            return False
        token_faults = tuple(self._verifier.faults)
        faults = in_seconds(token_faults, self._conditioned.request.speed)
        correctable = any(fault.end > self.released for fault in token_faults)
        candidate = _Candidate(self.number, self.tokens, finished, faults, token_faults)
        return self._follow(candidate, correctable=correctable)

    def _verify(self, *, finished: bool) -> None:
        """Verify the tokens so far; a fault that another seed had, too, is reported and begins no third attempt."""
        assert self._verifier is not None
        self._verifier.add(self.tokens, finished=finished)
        while self._verifier.faults and all(
            is_repeated(fault, self._earlier_faults) for fault in self._verifier.faults
        ):
            self._verifier.accept()
            self._verifier.add(self.tokens, finished=finished)

    def take_audio_faults(self, faults: list[Fault]) -> bool:
        """Take the faults of the whole audio of the tokens; return whether other tokens are to be spoken."""
        if self._settled or not faults:
            return False
        return self._follow(_Candidate(self.number, self.tokens, True, faults), correctable=True)

    def report(self, faults: Sequence[Fault], seconds: float) -> VerificationReport | None:
        """Return what became of the utterance, whose audio has faults; verifying that took so many seconds."""
        if self._settings is None:
            return None
        started = time.perf_counter()
        verifier = TokenVerifier(self._text, 0)
        if self._candidates or self._dropped:  # else all its tokens were verified
            verifier.add(self.tokens, finished=True)
        earlier = self._earlier_faults if self._highest else []
        remaining = (*in_seconds(verifier.faults, self._conditioned.request.speed, earlier), *faults)
        seconds += self._seconds + time.perf_counter() - started
        return VerificationReport(
            self._highest + 1, remaining, tuple(self._dropped), seconds, unchecked=self._text.unchecked
        )

    @property
    def _earlier_faults(self) -> list[TokenFault]:
        """Those that tokens of the other attempts have shown."""
        return [
            fault
            for candidate in self._candidates
            if candidate.number != self.number
            for fault in candidate.token_faults
        ]

    def _follow(self, candidate: _Candidate, *, correctable: bool) -> bool:
        """Begin the attempt that follows one with faults, or settle for the best one; return whether the row leaves."""
        assert self._settings is not None
        self._candidates.append(candidate)
        if correctable and self._highest < self._settings.retries:
            self._dropped += candidate.faults
            self._highest += 1
            if not self._first:  # nothing was delivered
                self.released = 0
            self._begin(self._highest, self.tokens[: self.released])
            return True
        self._settled = True
        best = min(self._candidates, key=self._rank)
        if best is candidate:
            self.released = len(self.tokens)
            return False
        self._dropped = [fault for other in self._candidates if other is not best for fault in other.faults]
        if best.complete:
            self.tokens, self.finished = best.tokens, True
            self.released = len(self.tokens)
        else:
            self._begin(best.number, best.tokens)
        return True

    def _rank(self, candidate: _Candidate) -> tuple[bool, int, float, int]:
        """Return what is smallest for the best attempt: of incomplete ones that which came furthest."""
        count, seconds = severity(candidate.faults)
        length = 0 if candidate.complete else -len(candidate.tokens)
        return not candidate.complete, length, count + seconds, candidate.number

    def _begin(self, number: int, forced: Sequence[int]) -> None:
        self.number, self._forced = number, list(forced)
        self.tokens, self.finished = [], False
        self._part, self._part_start = 0, 0
        self._parts = [self._conditioned.gpt_input]
        if number == SPLIT_ATTEMPT and not forced:
            self._parts = halves(self._conditioned, self._text.is_pause.tolist())
        accepted = [] if self._verifier is None else self._verifier.accepted
        self._verifier = TokenVerifier(self._text, self._first, accepted)


def halves(conditioned: ConditionedRequest, is_pause: Sequence[bool]) -> list[GenerationInput]:
    """Return the input of each half of an utterance, cut at the pause next to its middle; the whole without such."""
    whole, count = conditioned.gpt_input, len(conditioned.phones)
    pauses = [i + 1 for i, pause in enumerate(is_pause) if pause and SHORTEST_HALF <= i + 1 <= count - SHORTEST_HALF]
    if not pauses:
        return [whole]
    cut = min(pauses, key=lambda position: abs(position - count / 2))
    before = len(whole.phonemes) - count  # the prompt's phonemes
    device = whole.phonemes.device
    every = torch.arange(len(whole.phonemes), device=device)
    parts = []
    for kept in (every < before + cut, (every < before) | (every >= before + cut)):
        bert = None if whole.bert is None else whole.bert[:, kept]
        parts.append(GenerationInput(whole.phonemes[kept], bert, whole.prompt))
    return parts
