"""Finished utterances: what is asked for again with the same seed is there at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence

from GPT_SoVITS.engine.utterance import UtteranceTask
from GPT_SoVITS.pipeline import Speech


class SpeechCache:
    """Keeps the chunks of utterances within a limit of bytes, least recently used first out. Not thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._entries: OrderedDict[Hashable, tuple[Speech, ...]] = OrderedDict()

    def get(self, key: Hashable | None) -> tuple[Speech, ...] | None:
        """Return the chunks of an utterance, if they are there."""
        if key is None or key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: Hashable | None, chunks: Sequence[Speech]) -> None:
        """Keep the chunks of an utterance, unless they are larger than the whole cache."""
        size = _size(chunks)
        if key is None or key in self._entries or size > self.max_bytes:
            return
        self._entries[key] = tuple(chunks)
        self.bytes += size
        while self.bytes > self.max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self.bytes -= _size(oldest)

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
    )


def _size(chunks: Sequence[Speech]) -> int:
    return sum(speech.samples.nbytes for speech in chunks)
