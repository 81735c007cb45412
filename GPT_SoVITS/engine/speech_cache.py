"""Finished utterances: what is asked for again with the same seed is there at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from GPT_SoVITS.engine.utterance import UtteranceTask
from GPT_SoVITS.engine.verification import VerificationReport
from GPT_SoVITS.pipeline import Speech


@dataclass(frozen=True, slots=True)
class FinishedSpeech:
    """What an utterance came to."""

    chunks: tuple[Speech, ...]
    report: VerificationReport | None = None

    @property
    def bytes(self) -> int:
        """Bytes of its samples."""
        return sum(speech.samples.nbytes for speech in self.chunks)


class SpeechCache:
    """Keeps utterances within a limit of bytes, least recently used first out. Not thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._entries: OrderedDict[Hashable, FinishedSpeech] = OrderedDict()

    def get(self, key: Hashable | None) -> FinishedSpeech | None:
        """Return an utterance, if it is there."""
        if key is None or key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: Hashable | None, speech: FinishedSpeech) -> None:
        """Keep an utterance, unless it is larger than the whole cache."""
        size = speech.bytes
        if key is None or key in self._entries or size > self.max_bytes:
            return
        self._entries[key] = speech
        self.bytes += size
        while self.bytes > self.max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self.bytes -= oldest.bytes

    def clear(self) -> None:
        """Forget all utterances."""
        self._entries.clear()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)


def speech_key(task: UtteranceTask) -> Hashable | None:
    """Return what decides every sample of an utterance; None where nobody said whose voice it is, or
    where it will not be asked for again."""
    request = task.request
    voice, prompt = task.pipeline.key, request.prompt.key
    if voice is None or prompt is None or not task.repeatable:
        return None
    return (
        voice,
        task.pipeline.precision,
        prompt,
        request.text,
        request.language,
        tuple(request.inline_pronunciations),
        tuple(request.atoms),
        request.seed,
        request.speed,
        request.sampling,
        request.steps,
        request.super_sampling,
        task.chunks,
        task.verification and (task.verification.retries, task.verification.recognizer is not None),
    )
