"""The checkpoints of a training, evaluated beside it as they are saved, and the rest at its end."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from typing_extensions import TypedDict

from common import storage_keys
from core.errors import Draining, JobCancelled, LeaseLost, SovitsError, StorageUnavailable, TrainingFailed
from core.stages.outputs import PreviewOutput
from roles.stages.stage_run import StageRun
from roles.training.checkpoints import CheckpointRow, Measures
from roles.training.control import ControlRequests, Paused
from roles.training.evaluation import (
    OTHER_KIND,
    EvaluationProgram,
    SpokenSentences,
    VoiceToEvaluate,
    check_requests,
    own_prompt,
    partner_of,
    record_sample,
    sentence_message,
)
from roles.training.evaluation_results import EvaluationBasis, EvaluationResults
from roles.training.program import POLL_SECONDS, EvaluationEvent, PreviewEvent, VoiceEvent

logger = logging.getLogger(__name__)

MAX_SENTENCES: Final = 40
"""Spoken by the checkpoints of one training together; many checkpoints speak fewer each, and at least one."""
SAMPLES: Final = "samples"
"""Folder of sample sentences in a training's folder."""
MAX_STARTS: Final = 2
"""So often the program is started beside a training, and again at its end, when it is killed."""

Progress = Callable[[float, str], None]
"""(fraction, message)."""


class EvaluationReport(TypedDict, total=False):
    """The evaluation in the outputs of a training; `error` alone when there was none."""

    sentences: int
    language: str
    gpt_model: str
    sovits_model: str
    """The other model that the checkpoints spoke with."""
    error: str


@dataclass(frozen=True, slots=True)
class EvaluationSetup:
    """What the checkpoints of a training speak, and with which other model."""

    spoken: SpokenSentences
    partner: Path
    partner_name: str
    results: EvaluationResults


class CheckpointEvaluator:
    """Evaluates the checkpoints of one training; `close` leaves no program running.

    A training is not lost when its checkpoints cannot be evaluated: the report then has the reason as `error`.
    """

    def __init__(self, run: StageRun, kind: str, folder: Path, *, spare_threads: int) -> None:
        """`kind`: `gpt` or `sovits`; `folder`: the run's own; `spare_threads`: 0 evaluates at the training's end."""
        self._run = run
        self._kind = kind
        self._folder = folder
        self._spare_threads = spare_threads
        self._requests = ControlRequests(run)
        self._program: EvaluationProgram | None = None
        self._events: Iterator[EvaluationEvent | None] = iter(())
        self._starts = 0
        self._submitted: deque[tuple[VoiceToEvaluate, CheckpointRow | None]] = deque()
        """What the program has; it reports in this order. None: the base before the training."""
        self._error = ""
        self._setup: EvaluationSetup | None = None
        try:
            self._setup = self._prepare()
        except StorageUnavailable:
            raise  # the training begins when it is there again
        except SovitsError as error:
            run.context.check()
            self._fail(error)

    def begin(self, base: Path) -> None:
        """Have the base speak before a SoVITS training, and judge what an earlier run of this training left.

        Where the training leaves no room for that, it waits until the base spoke. Raises Draining or Paused to stop.
        """
        if self._setup is None:
            return
        if self._kind == "sovits" and self._setup.results.before is None:
            self._start(self._spare_threads or self._run.services.threads)
            self._submit(self._voice("the base", base, 0, preview=True), None)
            if not self._spare_threads:
                self._wait_for_preview()
        if self._spare_threads:
            for row in self._setup.results.waiting:
                self._submit_beside(row)

    def submit(self, row: CheckpointRow) -> None:
        """Have a checkpoint evaluated that was just saved."""
        if self._setup is None or self._setup.results.find(row) is not None:
            return
        self._setup.results.add_waiting(row)
        if self._spare_threads:
            self._submit_beside(row)

    def poll(self) -> None:
        """Record what has been evaluated meanwhile, without waiting; call it often. Raise when the job should stop."""
        while self._program is not None:
            try:
                event = next(self._events, None)
            except SovitsError as error:
                self._run.context.check()
                logger.warning("The evaluation beside the training has ended: %s", error.sentences)
                self.close()
                return
            if event is None:
                return
            self._handle(event)

    def forget(self) -> None:
        """Drop what was judged: the training begins anew."""
        if self._setup is not None:
            # What speaks is the base, or a checkpoint that is no longer this training's.
            if any(row is not None for _, row in self._submitted):
                self.close()
            self._setup.results.clear()
            self._publish_previews(self._setup.results)

    def release_memory(self) -> bool:
        """End the program, and start none before the training's end; return whether there was one."""
        running, self._spare_threads = self._program is not None, 0
        self.close()
        return running

    def finish(self, rows: Sequence[CheckpointRow], progress: Progress) -> EvaluationReport:
        """Evaluate the checkpoints that are left; measures and samples go into the rows.

        Raises Draining or Paused to stop.
        """
        if self._setup is None:
            return {"error": self._error}
        results, self._starts = self._setup.results, 0
        self.poll()
        while not self._error and (rest := [row for row in rows if results.find(row) is None]):
            try:
                self._evaluate(rest, progress)
            except (Draining, Paused, JobCancelled, LeaseLost):
                raise
            except SovitsError as error:
                self._run.context.check()
                self.close()
                if not isinstance(error, TrainingFailed) or self._starts >= MAX_STARTS:  # it was not killed
                    self._fail(error)
        language = ""
        for row in rows:
            if evaluated := results.find(row):
                row.update(cast(CheckpointRow, evaluated["mean"]))
                row["sample"] = evaluated["preview"]["sample"] if evaluated["preview"] else None
                language = evaluated["language"]
        if self._error:
            return {"error": self._error}
        report: EvaluationReport = {"sentences": self._setup.spoken["count"], "language": language}
        if self._kind == "sovits":
            report["gpt_model"] = self._setup.partner_name
        else:
            report["sovits_model"] = self._setup.partner_name
        report["error"] = ""
        return report

    def close(self) -> None:
        """End the program, if it runs; what it has not judged is judged at the end."""
        if self._program is not None:
            self._program.close()
        self._program, self._events = None, iter(())
        self._submitted.clear()

    def _prepare(self) -> EvaluationSetup | None:
        run = self._run
        sentences = run.services.settings.evaluation_sentences
        if not sentences:
            self._error = "EVALUATION_SENTENCES is 0."
            return None
        partner, name = partner_of(run, self._kind)
        checkpoints = -(-int(run.config["total_epoch"]) // int(run.config["save_every_epoch"]))
        count = max(1, min(sentences, MAX_SENTENCES // checkpoints))
        spoken: SpokenSentences = {"prompt": own_prompt(run), "count": count}
        basis: EvaluationBasis = {"prompt": run.outputs["asr"]["prompt"], "sentences": count, "partner": name}
        (self._folder / SAMPLES).mkdir(exist_ok=True)
        return EvaluationSetup(spoken, partner, name, EvaluationResults(self._folder, basis))

    def _voice(self, name: str, weights: Path, epoch: int, *, preview: bool = False) -> VoiceToEvaluate:
        assert self._setup is not None
        pair = {self._kind: weights, OTHER_KIND[self._kind]: self._setup.partner}
        sample = self._folder / SAMPLES / f"e{epoch}.wav"
        return VoiceToEvaluate(name, pair["gpt"], pair["sovits"], sample, preview)

    def _start(self, threads: int) -> None:
        """Start the program where it does not run and was not killed too often."""
        if self._program is None and self._starts < MAX_STARTS:
            assert self._setup is not None
            self._starts += 1
            self._program = EvaluationProgram(self._run, self._folder, self._setup.spoken, threads=threads)
            self._events = self._program.events(0.0)

    def _submit_beside(self, row: CheckpointRow) -> None:
        """Have a checkpoint evaluated beside the training; one that cannot be read now is evaluated at its end."""
        try:
            self._submit_checkpoint(row, self._spare_threads)
        except StorageUnavailable as error:
            logger.warning("Epoch %d is judged at the end: %s", row["epoch"], error.message)

    def _submit_checkpoint(self, row: CheckpointRow, threads: int) -> None:
        self._start(threads)
        weights = self._run.services.storage.path(row["model_path"])
        self._submit(self._voice(f"epoch {row['epoch']}", weights, row["epoch"]), row)

    def _submit(self, voice: VoiceToEvaluate, row: CheckpointRow | None) -> None:
        if self._program is not None:
            self._submitted.append((voice, row))
            self._program.submit(voice)

    def _wait_for_preview(self) -> None:
        """Wait until the base spoke, and end the program."""
        assert self._program is not None
        try:
            for event in self._program.events(POLL_SECONDS):
                if event is not None:
                    self._handle(event)
                    break
                check_requests(self._run, self._requests)
        except (Draining, Paused, JobCancelled, LeaseLost):
            raise
        except SovitsError as error:
            self._run.context.check()
            logger.warning("The base does not speak before the training: %s", error.sentences)
        self.close()

    def _evaluate(self, rows: Sequence[CheckpointRow], progress: Progress) -> None:
        """Evaluate the rows, of which the program may have some already; raise what it reports."""
        submitted = {row["checkpoint_id"] for _, row in self._submitted if row is not None}
        for row in rows:
            if row["checkpoint_id"] not in submitted:
                self._submit_checkpoint(row, self._run.services.threads)
        assert self._program is not None
        self._program.end_input()
        judged = 0
        for event in self._program.events(POLL_SECONDS):
            if event is not None:
                self._handle(event)
                if event["event"] == "sentence":
                    fraction = (judged + event["number"] / event["of"]) / len(rows)
                    progress(min(1.0, fraction), sentence_message(event))
                judged += event["event"] == "voice"
            check_requests(self._run, self._requests)
        self.close()

    def _handle(self, event: EvaluationEvent) -> None:
        if event["event"] == "voice":
            self._record(event)
        elif event["event"] == "preview":
            self._record_before(event)
        elif event["event"] == "no_preview":
            self._submitted.popleft()
            logger.warning("The base does not speak before the training: %s", event["message"])

    def _record(self, event: VoiceEvent) -> None:
        """Keep what was measured of a checkpoint, and publish what it spoke."""
        voice, row = self._submitted.popleft()
        assert self._setup is not None
        assert row is not None
        sentence, mean = event["sentences"][0], cast(Measures, event["mean"])
        preview: PreviewOutput | None = None
        if record_sample(self._run, voice, sentence["text"], sentence["seconds"]):
            spoken = {"sample": self._sample_key(row["epoch"]), "text": sentence["text"]}
            preview = cast(PreviewOutput, {**row, **mean, **spoken})
        self._setup.results.add({"row": row, "language": event["language"], "mean": mean, "preview": preview})
        if preview is not None:
            self._publish(preview)

    def _record_before(self, event: PreviewEvent) -> None:
        """Keep and publish what the base spoke."""
        voice, _ = self._submitted.popleft()
        assert self._setup is not None
        record_sample(self._run, voice, event["text"], event["seconds"])
        preview: PreviewOutput = {"epoch": 0, "sample": self._sample_key(0), "text": event["text"]}
        self._setup.results.set_before(preview)
        self._publish(preview)

    def _publish(self, preview: PreviewOutput) -> None:
        """Let clients hear a sample."""
        assert self._setup is not None
        run = self._run
        try:
            run.save_file(f"{run.own_folder_name}/{SAMPLES}/{preview['sample'].rpartition('/')[2]}")
        except StorageUnavailable as error:
            logger.warning("A sample can be heard later: %s", error.message)
        self._publish_previews(self._setup.results)
        run.context.event("preview", {"stage": run.stage, **preview})

    def _publish_previews(self, results: EvaluationResults) -> None:
        run = self._run
        update = run.services.experiments.runs.update_previews
        run.services.call(update, run.experiment.id, run.stage, run.run, results.previews)

    def _sample_key(self, epoch: int) -> str:
        run = self._run
        return storage_keys.experiment_file(run.experiment.id, run.own_folder_name, SAMPLES, f"e{epoch}.wav")

    def _fail(self, error: SovitsError) -> None:
        logger.warning("The checkpoints were not judged: %s", error.sentences)
        self._error = error.sentences
