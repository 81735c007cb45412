"""The engine of one device: utterances from any thread in, chunks of audio out, all networks on one thread.

Their tokens are generated in batches that utterances join and leave between two steps, and what the device does next is
the scheduler's choice. What an utterance sounds like depends on its request alone.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from GPT_SoVITS.engine.graph_captures import IDLE_SECONDS, GraphCaptures
from GPT_SoVITS.engine.running_utterance import RunningUtterance, UtteranceHandle
from GPT_SoVITS.engine.scheduler import Scheduler, Slice, Step
from GPT_SoVITS.engine.speech_cache import FinishedSpeech, SpeechCache, speech_key
from GPT_SoVITS.engine.token_batches import TokenBatches, batch_key
from GPT_SoVITS.engine.utterance import UtteranceCancelled, UtteranceListener, UtteranceTask
from GPT_SoVITS.engine.verification import Recognition
from GPT_SoVITS.errors import ModelError, is_out_of_memory
from GPT_SoVITS.gpt.decoder_choice import new_decoder
from GPT_SoVITS.pipeline import Pipeline
from GPT_SoVITS.synthesis.generator_rows import GeneratorRow, GeneratorUse, generate

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

MAX_ROWS = 32
"""Utterances whose tokens are generated in one batch."""
MAX_CHUNKS = 8
"""Chunks that an accelerator decodes at once."""
TEXT_THREADS = 2


class SpeechEngine:
    """Owns a device: one thread runs every network on it. All methods may be called from any thread."""

    def __init__(
        self,
        *,
        threads: int = 0,
        max_rows: int = MAX_ROWS,
        max_chunks: int = 1,
        speech_cache: SpeechCache | None = None,
        cuda_graphs: bool = True,
        release_memory: Callable[[], object] = lambda: None,
    ) -> None:
        """Start the thread.

        Args:
            threads: Cores that an operation on the CPU may use; 0 keeps torch's own number.
            max_rows: Utterances whose tokens are generated in one batch.
            max_chunks: Chunks of streams that are decoded at once, where voices share a generator. With more than one,
                the last digits of a chunk depend on those beside it, so a CPU has one: a takeover repeats every digit.
            speech_cache: Finished utterances, which are not computed again.
            cuda_graphs: Whether tokens are generated, and chunks decoded, by CUDA graphs where that is possible.
            release_memory: Frees what is not needed at once; called on the engine's thread when memory is exhausted.
        """
        self._threads = threads
        self._speech_cache = SpeechCache(0) if speech_cache is None else speech_cache
        self._release_memory = release_memory
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._text_threads = ThreadPoolExecutor(TEXT_THREADS, "text")
        self._scheduler = Scheduler(max_rows, time.monotonic, max_chunks)
        self._batches = TokenBatches(cuda_graphs=cuda_graphs)
        self._graphs = GraphCaptures(enabled=cuda_graphs)
        self.steps = self.rows = 0
        """Steps of batches so far, and the utterances in them."""
        self._utterances: dict[int, RunningUtterance] = {}
        """By the identity of what the scheduler knows of them."""
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, task: UtteranceTask, listener: UtteranceListener) -> UtteranceHandle:
        """Queue an utterance. Raises RuntimeError when the engine is closed."""
        utterance = RunningUtterance(task, listener, batch_key(task.pipeline))
        self._send(lambda: self._add(utterance))
        return utterance.handle

    def call(self, function: Callable[[], Result]) -> Future[Result]:
        """Run a function on the device's thread, between two steps.

        Where memory is exhausted, it is called once more after everything that is not needed was freed.

        Raises:
            RuntimeError: The engine is closed.
        """
        future: Future[Result] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(self._with_memory(function))
            except BaseException as error:
                future.set_exception(error)

        self._send(run)
        return future

    def load(self, function: Callable[[], Result]) -> Result:
        """Run a function that loads networks, and runs none, on the caller's thread, while others speak.

        Where memory is exhausted, it is called once more after everything that is not needed was freed.

        Raises:
            ModelError: "out_of_memory", even then.
            RuntimeError: The engine is closed.
        """
        try:
            return function()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        self.call(self._make_room).result()
        return _last_try(function)

    def prepare(self, pipeline: Pipeline) -> None:
        """Lay out the weights of a voice for its first utterance, and capture the graphs that its GPT needs.

        Not for the device's thread, which captures them one by one, between the steps of others.
        """
        new_decoder(pipeline.gpt, pipeline.precision)
        for prepare in self.call(partial(self._graphs.preparations, pipeline)).result():
            self.call(prepare).result()

    def close(self) -> None:
        """Cancel all utterances and end the thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._commands.put(None)
        self._thread.join()
        self._text_threads.shutdown()

    def _send(self, command: Callable[[], None]) -> None:
        with self._lock:
            if self._closed:
                raise RuntimeError("The engine is closed.")
            self._commands.put(command)

    def _run(self) -> None:
        if self._threads:
            torch.set_num_threads(self._threads)
        while self._receive():
            self._advance()
        while not self._commands.empty():  # a caller waits for each of them
            command = self._commands.get()
            if command is not None:
                command()
        for utterance in list(self._utterances.values()):
            self._end(utterance, UtteranceCancelled())

    def _advance(self) -> None:
        """End what was cancelled, and do the next piece of work.

        Nothing outside of this function may know an utterance while the thread waits: its voice would stay in memory.
        """
        for utterance in list(self._utterances.values()):
            if utterance.handle.cancelled:
                self._end(utterance, UtteranceCancelled())
        work = self._scheduler.next_work()
        if isinstance(work, Slice):
            self._do_slice([self._utterances[id(utterance)] for utterance in (work.utterance, *work.others)])
        elif work is not None:
            self._do_step(work)
        if (capture := self._graphs.due_capture(waiting=self._scheduler.awaits_first_audio)) is not None:
            capture()

    def _receive(self) -> bool:
        """Run the commands that have arrived, and wait for one when there is nothing to do; False to end."""
        while True:
            wait = self._scheduler.next_work() is None
            capture = self._graphs.idle_capture() if wait else None
            try:
                command = self._commands.get(block=wait, timeout=None if capture is None else IDLE_SECONDS)
            except queue.Empty:
                if capture is None:
                    return True
                capture()
                continue
            if command is None:
                return False
            command()
            del command

    def _add(self, utterance: RunningUtterance) -> None:
        """Begin an utterance: hand out its audio if it is in the cache, else have its text converted."""
        task = utterance.task
        speech = self._speech_cache.get(speech_key(task))
        self._utterances[id(utterance.scheduled)] = utterance
        self._scheduler.add(utterance.scheduled)
        if speech is not None:
            self._guarded(utterance, partial(_replay, utterance, speech))
            return
        request = task.request
        utterance.phonemes = self._text_threads.submit(
            task.pipeline.conditioner.phonemize, request.text, request.language, request.inline_pronunciations
        )
        utterance.phonemes.add_done_callback(lambda _: self._wake(utterance))
        utterance.recognize = partial(self._recognize, utterance)
        utterance.work_beside = self._text_threads.submit

    def _recognize(self, utterance: RunningUtterance, recognition: Callable[[], Recognition]) -> Future[Recognition]:
        """Have a recognizer listen to an utterance beside the device's thread, and continue the utterance after it."""
        future = self._text_threads.submit(recognition)
        future.add_done_callback(lambda _: self._wake(utterance))
        return future

    def _wake(self, utterance: RunningUtterance) -> None:
        """Continue an utterance whose text was converted; called on any thread."""
        with self._lock:
            if not self._closed:
                self._commands.put(utterance.update_phase)

    def _do_slice(self, utterances: list[RunningUtterance]) -> None:
        """Do a slice of one utterance, or decode a chunk of each of several with one run of the generator."""
        if len(utterances) == 1:
            self._guarded(utterances[0], utterances[0].advance)
            return
        begun: list[_BegunDecoding] = []
        for utterance in utterances:
            self._guarded(utterance, partial(_begin_decoding, utterance, begun))
        try:
            waves = generate([decoding.row for decoding in begun]) if begun else []
        except Exception as error:
            self._fail_together([decoding.utterance for decoding in begun], error)
            return
        for decoding, wave in zip(begun, waves, strict=True):
            self._guarded(decoding.utterance, partial(_end_decoding, decoding, wave))

    def _do_step(self, step: Step) -> None:
        if step.joining is not None:
            joining = self._utterances[id(step.joining)]
            self._guarded(joining, partial(self._batches.join, joining))
            joining.update_phase()
        members = self._batches.members(step.group)
        if not members:
            return
        try:
            updates = self._batches.step(step.group)
            self.steps += 1
            self.rows += len(members)
        except Exception as error:
            self._batches.drop(step.group)
            self._fail_together(members, error)
            return
        for utterance, tokens, finished in updates:
            self._guarded(utterance, partial(self._take_tokens, utterance, tokens, finished=finished))

    def _take_tokens(self, utterance: RunningUtterance, tokens: Sequence[int], *, finished: bool) -> None:
        if utterance.take_tokens(tokens, finished=finished):
            self._batches.leave(utterance)
        utterance.update_phase()

    def _guarded(self, utterance: RunningUtterance, work: Callable[[], None]) -> None:
        """Do some work of one utterance; its error ends no other."""
        try:
            work()
        except Exception as error:
            if is_out_of_memory(error):
                self._retry_alone([utterance], error)
            else:
                if not isinstance(error, ModelError):
                    logger.exception("An utterance failed.")
                self._end(utterance, error)
            return
        if utterance.ended:
            speech = FinishedSpeech(tuple(utterance.delivered), utterance.report)
            self._speech_cache.put(speech_key(utterance.task), speech)
            self._forget(utterance)

    def _fail_together(self, utterances: list[RunningUtterance], error: Exception) -> None:
        """End utterances that shared some work, or begin again where memory is exhausted."""
        if is_out_of_memory(error):
            self._retry_alone(utterances, error)
            return
        logger.error("The work of %d utterances failed.", len(utterances), exc_info=error)
        for utterance in utterances:
            self._end(utterance, error)

    def _end(self, utterance: RunningUtterance, error: Exception) -> None:
        """End an utterance before its time."""
        self._forget(utterance)
        try:
            utterance.fail(error)
        except Exception:
            logger.exception("A listener failed.")

    def _forget(self, utterance: RunningUtterance) -> None:
        if self._utterances.pop(id(utterance.scheduled), None) is not None:
            self._scheduler.remove(utterance.scheduled)
            self._batches.leave(utterance)

    def _retry_alone(self, utterances: list[RunningUtterance], error: Exception) -> None:
        """Free what can be freed and begin again, one utterance after the other.

        The batches' memory goes, too: an utterance that was in one generates the same tokens again.
        """
        traceback.clear_frames(error.__traceback__)  # the functions that failed hold the batch and what they computed
        interrupted = self._batches.clear()
        for utterance in interrupted:
            utterance.update_phase()
        for utterance in utterances:
            if utterance.was_alone:
                self._end(utterance, _out_of_memory(utterance))
                continue
            utterance.was_alone = True
            self._scheduler.alone.append(utterance.scheduled)
            utterance.restart_decoding()
        logger.warning("Memory is exhausted: %d utterances are spoken one by one.", len(utterances))
        self._free_memory()

    def _with_memory(self, function: Callable[[], Result]) -> Result:
        try:
            return function()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        self._make_room()
        return _last_try(function)

    def _make_room(self) -> None:
        """Free the memory of the batches, whose utterances generate the same tokens again, and all that can go."""
        for utterance in self._batches.clear():
            utterance.update_phase()
        self._free_memory()

    def _free_memory(self) -> None:
        self._release_memory()
        self._graphs.release()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def chunks_at_once(device: str) -> int:
    """Return how many chunks an engine on this kind of device decodes at once (`max_chunks`)."""
    return 1 if device == "cpu" else MAX_CHUNKS


def _last_try(function: Callable[[], Result]) -> Result:
    """Run a function after memory was freed. Raises ModelError("out_of_memory")."""
    try:
        return function()
    except Exception as error:
        if is_out_of_memory(error):
            raise _out_of_memory() from error
        raise


class _BegunDecoding(NamedTuple):
    """A chunk that waits for its wave."""

    utterance: RunningUtterance
    work: GeneratorUse[None]
    row: GeneratorRow


def _begin_decoding(utterance: RunningUtterance, begun: list[_BegunDecoding]) -> None:
    """Decode a chunk up to where the generator is needed, if it is."""
    work = utterance.decoding()
    with suppress(StopIteration):
        begun.append(_BegunDecoding(utterance, work, next(work)))


def _end_decoding(decoding: _BegunDecoding, wave: Tensor) -> None:
    with suppress(StopIteration):
        decoding.work.send(wave)


def _replay(utterance: RunningUtterance, speech: FinishedSpeech) -> None:
    for chunk in speech.chunks:
        utterance.deliver(chunk)
    utterance.finish(speech.report)


def _out_of_memory(utterance: RunningUtterance | None = None) -> ModelError:
    subject = "The voice" if utterance is None else f"The utterance {utterance.task.request.text[:40]!r}"
    return ModelError(
        "out_of_memory",
        f"{subject} needs more memory than the device has, even alone.",
        hint="Shorter sentences need less memory, and so do fewer programs on the device.",
        permanent=utterance is not None,
    )
