"""The engine of one device: utterances from any thread in, chunks of audio out, all networks on one thread."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from GPT_SoVITS.engine.utterance import UtteranceCancelled, UtteranceListener, UtteranceTask, UtteranceTotals
from GPT_SoVITS.pipeline import Speech

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class UtteranceHandle:
    """An utterance that was submitted."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Stop the utterance within a few steps, from any thread; harmless when it has ended."""
        self._cancelled.set()


class SpeechEngine:
    """Owns a device: one thread runs every network on it. All methods may be called from any thread."""

    def __init__(self, *, threads: int = 0) -> None:
        """Start the thread.

        Args:
            threads: Cores that an operation on the CPU may use; 0 keeps torch's own number.
        """
        self._threads = threads
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._utterances: list[_Utterance] = []
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, task: UtteranceTask, listener: UtteranceListener) -> UtteranceHandle:
        """Queue an utterance. Raises RuntimeError when the engine is closed."""
        utterance = _Utterance(task, listener)
        self._send(lambda: self._utterances.append(utterance))
        return utterance.handle

    def call(self, function: Callable[[], Result]) -> Future[Result]:
        """Run a function on the device's thread, between two steps. Raises RuntimeError when the engine is closed."""
        future: Future[Result] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self._send(run)
        return future

    def close(self) -> None:
        """Cancel all utterances and end the thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._commands.put(None)
        self._thread.join()

    def _send(self, command: Callable[[], None]) -> None:
        with self._lock:
            if self._closed:
                raise RuntimeError("The engine is closed.")
            self._commands.put(command)

    def _run(self) -> None:
        if self._threads:
            torch.set_num_threads(self._threads)
        while self._receive():
            for utterance in list(self._utterances):
                if not utterance.advance():
                    self._utterances.remove(utterance)
        for utterance in self._utterances:
            utterance.handle.cancel()
            utterance.advance()

    def _receive(self) -> bool:
        """Run the commands that have arrived, and wait for one when there is nothing to speak; False to end."""
        wait = not self._utterances
        while True:
            try:
                command = self._commands.get(block=wait)
            except queue.Empty:
                return True
            if command is None:
                return False
            command()
            wait = not self._utterances


@dataclass(eq=False, slots=True)
class _Utterance:
    """An utterance on its way."""

    task: UtteranceTask
    listener: UtteranceListener
    handle: UtteranceHandle = field(default_factory=UtteranceHandle)
    submitted_at: float = field(default_factory=time.monotonic)
    chunks: Iterator[Speech] | None = None
    samples: int = 0
    tokens: int = 0
    skipped: list[tuple[int, str]] = field(default_factory=list)

    def advance(self) -> bool:
        """Deliver the next chunk or the end; return False after the end."""
        try:
            if self.handle.cancelled:
                raise UtteranceCancelled
            if self.chunks is None:
                self.chunks = self._start()
            speech = next(self.chunks, None)
            if speech is None:
                rate = self.task.pipeline.sample_rate
                seconds = time.monotonic() - self.submitted_at
                self.listener.on_end(UtteranceTotals(self.samples, rate, self.tokens, self.skipped, seconds))
                return False
            self.samples += len(speech.samples)
            self.tokens += speech.tokens
            self.skipped += speech.skipped
            self.listener.on_chunk(speech)
        except Exception as error:
            self.listener.on_error(error)
            return False
        return True

    def _start(self) -> Iterator[Speech]:
        task = self.task
        if task.chunks is None:
            return iter(task.pipeline.speak_batch([task.request]))
        return task.pipeline.stream(task.request, chunks=task.chunks)
