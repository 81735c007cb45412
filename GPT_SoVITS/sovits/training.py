"""The training of stage 2: one plan, from its recordings to its last checkpoint, stopped and resumed anywhere."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from GPT_SoVITS.checkpoint import load_resume, save_checkpoint, save_resume
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.precision import choose
from GPT_SoVITS.sovits.data import BucketSampler, Items, boundaries, collate, crop, usable
from GPT_SoVITS.sovits.folder import Entry, select
from GPT_SoVITS.sovits.plan import Plan
from GPT_SoVITS.sovits.start import build
from GPT_SoVITS.sovits.step import Step

logger = logging.getLogger(__name__)

FEWEST_ITEMS = 2
RESUME = "resume.pt"
METRICS = "metrics.jsonl"

Emit = Callable[..., None]


class Training:
    """Both models, their optimisers and the place in the plan."""

    def __init__(self, plan: Plan, emit: Emit, stop: threading.Event) -> None:
        """Read everything and go to where an earlier run stopped. Raises ModelError."""
        self.plan, self.emit, self.stop = plan, emit, stop
        torch.set_num_threads(plan.threads)
        torch.manual_seed(plan.seed)
        self.device = _device(plan)
        self.config, generator, discriminator = build(plan)
        self.items = Items(plan.data, self.config)
        self.left_out: dict[str, str] = {}
        """Name of a recording -> why it is not learned from."""
        entries, repeats = self._usable_entries()
        self.entries = entries * repeats
        self.sampler = BucketSampler([entry.frames for entry in self.entries], plan.batch_size, boundaries())
        self.total_steps = plan.epochs * len(self.sampler)
        if self.total_steps == 0:
            raise ModelError(
                "no_updates",
                f"{plan.epochs} epochs of {len(self.sampler)} batches make no update at all.",
                hint="Ask for more epochs.",
            )
        self.precision = choose(plan.precision, self.device, self.config["model"]["hidden_channels"])
        generator.to(self.device).train()
        discriminator.to(self.device).train()
        half = self.precision == "bf16"
        self.learn = Step(generator, discriminator, self.config, half=half, compat=plan.compat)
        self.epoch = self.batch = self.step = 0
        self.sums: dict[str, list[float]] = {}
        """Loss -> its sum over this epoch, and of how many steps: the discriminator joins late."""
        self.history: list[dict[str, float]] = []
        """Mean losses of each epoch."""
        self.fingerprint = _fingerprint(plan, self.config, entries)
        plan.output.mkdir(parents=True, exist_ok=True)
        self._resume()
        self._cut_metrics()
        logger.info(
            "Training on %d recordings, %d batches of %d an epoch, %d updates in all, in %s.",
            len(entries), len(self.sampler), plan.batch_size, self.total_steps, self.precision,
        )  # fmt: skip

    def fit(self) -> bool:
        """Train to the end of the plan; False when asked to stop before, with the state saved."""
        with (self.plan.output / METRICS).open("a", encoding="utf-8") as metrics:
            while self.epoch < self.plan.epochs:
                batches = self.sampler.epoch(self.epoch + 1)
                while self.batch < len(batches):
                    if self.stop.is_set():
                        self._save_resume()
                        return False
                    line = self._train_batch([self.entries[i] for i in batches[self.batch]])
                    metrics.write(json.dumps(line) + "\n")
                    metrics.flush()
                    self._tell_progress(line["mel"])
                self._end_epoch()
        return True

    def finish(self) -> None:
        """Say where the last checkpoint is and how the training went."""
        path = self._checkpoint_path(self.plan.epochs)
        if not path.exists():
            self._save_checkpoint(path)
        mels = [means["mel"] for means in self.history]
        metrics = {
            "final_loss": mels[-1],
            "best_epoch": mels.index(min(mels)) + 1,
            "best_loss": min(mels),
            "final_losses": self.history[-1],
            "epochs": self.plan.epochs,
            "steps": self.step,
            "recordings": len({entry.name for entry in self.entries}),
            "left_out": self.left_out,
            "precision": self.precision,
        }
        self.emit("done", checkpoint=str(path), metrics=metrics)

    def _train_batch(self, entries: list[Entry]) -> dict[str, float]:
        """One update of both models."""
        settings = self.config["train"]
        rate = learning_rate(settings, epoch=self.epoch + 1, step=self.step, total=self.total_steps)
        self.learn.set_rate(rate)
        items = [self.items(entry) for entry in entries]
        if settings["crop_frames"]:
            hop = self.config["data"]["hop_length"]
            items = [crop(item, settings["crop_frames"], hop) for item in items]
        losses = self.learn(
            collate(items).to(self.device),
            adversarial=self.step >= settings["discriminator_start"] * self.total_steps,
        )
        if not math.isfinite(losses["total"]):
            raise ModelError(
                "diverged",
                f"The loss of step {self.step + 1} is {losses['total']}.",
                hint="A smaller learning rate helps.",
            )
        for name, loss in losses.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = [total + loss, count + 1]
        self.batch += 1
        self.step += 1
        return {"epoch": self.epoch + 1, "step": self.step, **losses, "learning_rate": rate}

    def _end_epoch(self) -> None:
        self.history.append({name: total / count for name, (total, count) in self.sums.items()})
        self.sums = {}
        self.epoch, self.batch = self.epoch + 1, 0
        # The checkpoint comes before the state: a crash between them repeats the epoch and writes it again.
        if self.epoch % self.plan.save_every_epoch == 0 or self.epoch == self.plan.epochs:
            path = self._checkpoint_path(self.epoch)
            self._save_checkpoint(path)
            self.emit("checkpoint", epoch=self.epoch, path=str(path))
        self._save_resume()

    def _tell_progress(self, loss: float) -> None:
        """`loss` is the mel loss: the total jumps when the discriminator joins, and says little."""
        self.emit(
            "progress",
            epoch=(self.step - 1) // len(self.sampler) + 1,
            total_epochs=self.plan.epochs,
            step=self.step,
            total_steps=self.total_steps,
            loss=loss,
            fraction=self.step / self.total_steps,
        )

    def _checkpoint_path(self, epoch: int) -> Path:
        return self.plan.output / f"sovits-e{epoch}.safetensors"

    def _save_checkpoint(self, path: Path) -> None:
        save_checkpoint(
            path,
            kind="sovits",
            version=self.plan.version,
            config=self.config,
            state=self.learn.generator.voice_state(),
            info={"epoch": self.epoch, "step": self.step, "loss": self.history[-1]["mel"]},
        )

    def _save_resume(self) -> None:
        cuda = torch.cuda.get_rng_state() if self.device.type == "cuda" else None
        state = {
            "fingerprint": self.fingerprint,
            "place": [self.epoch, self.batch, self.step],
            "sums": self.sums,
            "history": self.history,
            "generator": self.learn.generator.state_dict(),
            "discriminator": self.learn.discriminator.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.learn.optimizers.items()},
            "chance": torch.get_rng_state(),
            "chance_cuda": cuda,
            "precision": self.precision,
        }
        save_resume(self.plan.output / RESUME, state)

    def _resume(self) -> None:
        state = load_resume(self.plan.output / RESUME)
        if state is None:
            return
        if state.get("fingerprint") != self.fingerprint:
            logger.warning("The saved state is that of other data or settings; the training begins anew.")
            return
        self.epoch, self.batch, self.step = state["place"]
        self.sums, self.history = state["sums"], state["history"]
        self.learn.generator.load_state_dict(state["generator"])
        self.learn.discriminator.load_state_dict(state["discriminator"])
        for name, optimizer in self.learn.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.precision = state["precision"]
        self.learn.half = self.precision == "bf16"
        torch.set_rng_state(state["chance"])
        if state["chance_cuda"] is not None:
            torch.cuda.set_rng_state(state["chance_cuda"])
        logger.info("Going on from epoch %d, batch %d.", self.epoch + 1, self.batch + 1)

    def _cut_metrics(self) -> None:
        """Take back the lines of steps that a killed run made after its last saved state."""
        path = self.plan.output / METRICS
        lines = path.read_bytes().splitlines(keepends=True)[: self.step] if path.exists() else []
        path.write_bytes(b"".join(lines))

    def _usable_entries(self) -> tuple[list[Entry], int]:
        """Each recording that can be learned from, once, and how often the list counts in an epoch."""
        selection = select(self.plan.data, self.config)
        self.left_out |= selection.left_out
        edges = boundaries()
        fitting = []
        for entry in selection.entries:
            if edges[0] < entry.frames <= edges[-1]:
                fitting.append(entry)
            else:
                self.left_out[entry.name] = f"it has {entry.frames} frames; {edges[0] + 1} to {edges[-1]} work"
        entries, failed = usable(fitting, self.items)
        self.left_out |= failed
        for name, reason in self.left_out.items():
            logger.warning("Left out %s: %s.", name, reason)
        if len(entries) < FEWEST_ITEMS:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in list(self.left_out.items())[:5])
            raise ModelError(
                "dataset_too_small",
                f"{len(entries)} usable recordings were found, and at least {FEWEST_ITEMS} are needed."
                + (f" Left out: {reasons}." if reasons else ""),
                hint="Give a longer recording, or check its transcripts.",
            )
        return entries, selection.repeats


def learning_rate(settings: dict[str, Any], *, epoch: int, step: int, total: int) -> float:
    """The rate of one step: decayed by the epoch (from 1), risen over the warm-up, fallen along a cosine."""
    rise = min(1.0, (step + 1) / max(1, settings["warmup_steps"]))
    last = settings["final_lr_fraction"]
    fall = last + (1 - last) * 0.5 * (1 + math.cos(math.pi * step / total))
    return settings["learning_rate"] * settings["lr_decay"] ** epoch * rise * fall


def _device(plan: Plan) -> torch.device:
    if plan.device == "cuda" and not torch.cuda.is_available():
        raise ModelError("no_device", "A CUDA device was asked for, and there is none.", permanent=False)
    return torch.device(plan.device)


def _fingerprint(plan: Plan, config: dict[str, Any], entries: list[Entry]) -> str:
    """Tells whether a saved state belongs to this plan; more epochs may be asked of it later."""
    content = [
        [[entry.name, entry.phones, entry.frames, entry.codes] for entry in entries],
        config,
        [plan.version, plan.batch_size, plan.seed, plan.compat, plan.device],
        [str(plan.base), str(plan.base_discriminator)],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
