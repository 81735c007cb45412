"""The training of stage 1: one plan, from its data to its last checkpoint, stopped and resumed anywhere.

Differences from the reference are deliberate (specification s1-gpt §14.2 to §14.4): rows do not influence one
another, every batch reaches an update, and no update is larger than the others. `compat="reference"` undoes
them.
"""

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

from GPT_SoVITS.checkpoint import load_resume, open_checkpoint, save_checkpoint, save_resume
from GPT_SoVITS.configs import load_config, merged
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.data import Item, bucket_order, collate, effective_batch_size, read_items, repeat_small
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.objective import objective
from GPT_SoVITS.gpt.plan import Plan
from GPT_SoVITS.gpt.precision import choose
from GPT_SoVITS.gpt.scaled_adam import ScaledAdam
from GPT_SoVITS.gpt.schedule import Schedule
from GPT_SoVITS.text.symbols import symbols

logger = logging.getLogger(__name__)

FEWEST_ITEMS = 2
LIKE_V2 = ("v2", "v2Pro", "v2ProPlus", "v3", "v4")
RESUME = "resume.pt"
METRICS = "metrics.jsonl"

Emit = Callable[..., None]


def recipe_name(version: str) -> str:
    """The recipe of a version's GPT; those that followed v2 kept its."""
    return "v2_gpt" if version in LIKE_V2 else f"{version}_gpt"


class Training:
    """Model, optimiser and place in the plan."""

    def __init__(self, plan: Plan, emit: Emit, stop: threading.Event) -> None:
        """Read everything and go to where an earlier run stopped. Raises ModelError."""
        self.plan, self.emit, self.stop = plan, emit, stop
        torch.set_num_threads(plan.threads)
        torch.manual_seed(plan.seed)
        self.device = _device(plan)
        self.config, self.model = _build(plan)
        self.model.to(self.device).train()
        items = _usable_items(plan, self.config, self.model)
        self.items = repeat_small(items)
        self.batch_size = effective_batch_size(plan.batch_size, len(self.items), preference=plan.dpo)
        self.schedule = _schedule(plan, self.config, batches=-(-len(self.items) // self.batch_size))
        if self.schedule.planned_updates == 0:
            raise ModelError(
                "no_updates",
                f"{plan.epochs} epochs of {self.schedule.batches} batches make no update at all.",
                hint="Ask for more epochs, or for smaller batches.",
            )
        self.optimizer = ScaledAdam(self.model.parameters())
        self.precision = choose(plan.precision, self.device, self.model.dimensions.width)
        self.epoch = self.batch = self.step = 0
        self.sums = {"loss": 0.0, "tokens": 0, "accuracy": 0.0}
        self.history: list[dict[str, float]] = []
        self.fingerprint = _fingerprint(plan, self.config, items)
        plan.output.mkdir(parents=True, exist_ok=True)
        self._resume()
        self._cut_metrics()
        logger.info(
            "Training on %d recordings, %d batches of %d an epoch, %d updates in all, in %s.",
            len(items), self.schedule.batches, self.batch_size, self.schedule.planned_updates, self.precision,
        )  # fmt: skip

    def fit(self) -> bool:
        """Train to the end of the plan; False when asked to stop before, with the state saved."""
        lengths = [len(item.tokens) for item in self.items]
        with (self.plan.output / METRICS).open("a", encoding="utf-8") as metrics:
            while self.epoch < self.plan.epochs:
                order = bucket_order(lengths, self.batch_size, epoch=self.epoch)
                while self.batch < self.schedule.batches:
                    if self.stop.is_set():
                        self._save_resume()
                        return False
                    start = self.batch * self.batch_size
                    line = self._train_batch([self.items[i] for i in order[start : start + self.batch_size]])
                    metrics.write(json.dumps(line) + "\n")
                    metrics.flush()
                    self._tell_progress(line["loss"])
                self._end_epoch()
        return True

    def finish(self) -> None:
        """Say where the last checkpoint is and how the training went."""
        path = self._checkpoint_path(self.plan.epochs)
        if not path.exists():
            self._save_checkpoint(path)
        best = min(range(len(self.history)), key=lambda i: self.history[i]["loss"])
        metrics = {
            "final_loss": self.history[-1]["loss"],
            "final_top3_accuracy": self.history[-1]["top3_accuracy"],
            "best_epoch": best + 1,
            "best_loss": self.history[best]["loss"],
            "epochs": self.plan.epochs,
            "steps": self.step,
            "updates": self.optimizer.updates,
            "recordings": len({item.name for item in self.items}),
        }
        self.emit("done", checkpoint=str(path), metrics=metrics)

    def _train_batch(self, items: list[Item]) -> dict[str, float]:
        """One batch, and an update where the schedule wants one; the losses are per token."""
        batch = collate(items).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            result = objective(self.model, batch, preference=self.plan.dpo, compat=self.plan.compat)
        result.loss.backward()
        asked, loss = result.asked, float(result.cross_entropy)
        accuracy = result.top3_accuracy(self.model.dimensions.end)
        if not math.isfinite(loss):
            raise ModelError("diverged", f"The loss of step {self.step + 1} is {loss}.", hint="Check the training set.")
        rate = self.schedule.rate(self.optimizer.updates)
        if self.schedule.is_due(self.epoch, self.batch):
            self.optimizer.param_groups[0]["lr"] = rate
            self.optimizer.step()
            self.optimizer.zero_grad()
        line = {
            "epoch": self.epoch + 1,
            "step": self.step + 1,
            "loss": loss / asked,
            "top3_accuracy": accuracy,
            "learning_rate": rate,
        }
        if self.plan.dpo:
            line["preference_loss"] = float(result.loss.detach()) - loss
        self.sums["loss"] += loss
        self.sums["tokens"] += asked
        self.sums["accuracy"] += accuracy * asked
        self.batch += 1
        self.step += 1
        return line

    def _end_epoch(self) -> None:
        tokens = self.sums["tokens"]
        self.history.append({"loss": self.sums["loss"] / tokens, "top3_accuracy": self.sums["accuracy"] / tokens})
        self.sums = dict.fromkeys(self.sums, 0)
        self.epoch, self.batch = self.epoch + 1, 0
        # The checkpoint comes before the state: a crash between them repeats the epoch and writes it again.
        if self.epoch % self.plan.save_every_epoch == 0 or self.epoch == self.plan.epochs:
            path = self._checkpoint_path(self.epoch)
            self._save_checkpoint(path)
            self.emit("checkpoint", epoch=self.epoch, path=str(path))
        self._save_resume()

    def _tell_progress(self, loss: float) -> None:
        total = self.plan.epochs * self.schedule.batches
        self.emit(
            "progress",
            epoch=(self.step - 1) // self.schedule.batches + 1,
            total_epochs=self.plan.epochs,
            step=self.step,
            total_steps=total,
            loss=loss,
            fraction=self.step / total,
        )

    def _checkpoint_path(self, epoch: int) -> Path:
        return self.plan.output / f"gpt-e{epoch}.safetensors"

    def _save_checkpoint(self, path: Path) -> None:
        save_checkpoint(
            path,
            kind="gpt",
            version=self.plan.version,
            config=self.config,
            state=self.model.state_dict(),
            info={"epoch": self.epoch, "step": self.step, "loss": self.history[-1]["loss"]},
        )

    def _save_resume(self) -> None:
        """Everything that the rest of the run depends on, gradients of a half-collected update among it."""
        cuda = torch.cuda.get_rng_state() if self.device.type == "cuda" else None
        gradients = {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None}
        state = {
            "fingerprint": self.fingerprint,
            "place": [self.epoch, self.batch, self.step],
            "sums": self.sums,
            "history": self.history,
            "model": self.model.state_dict(),
            "gradients": gradients,
            "optimizer": self.optimizer.state_dict(),
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
        self.model.load_state_dict(state["model"], strict=True)
        for name, parameter in self.model.named_parameters():
            gradient = state["gradients"].get(name)
            parameter.grad = None if gradient is None else gradient.to(self.device)
        self.optimizer.load_state_dict(state["optimizer"])
        self.precision = state["precision"]
        torch.set_rng_state(state["chance"])
        if state["chance_cuda"] is not None:
            torch.cuda.set_rng_state(state["chance_cuda"])
        logger.info("Going on from epoch %d, batch %d.", self.epoch + 1, self.batch + 1)

    def _cut_metrics(self) -> None:
        """Take back the lines of steps that a killed run made after its last saved state."""
        path = self.plan.output / METRICS
        lines = path.read_bytes().splitlines(keepends=True)[: self.step] if path.exists() else []
        path.write_bytes(b"".join(lines))


def _device(plan: Plan) -> torch.device:
    if plan.device == "cuda" and not torch.cuda.is_available():
        raise ModelError("no_device", "A CUDA device was asked for, and there is none.", permanent=False)
    return torch.device(plan.device)


def _build(plan: Plan) -> tuple[dict[str, Any], Text2Semantic]:
    """The recipe and its model, begun from the base's weights and dimensions where there is a base."""
    config = load_config(recipe_name(plan.version))
    config["train"] |= plan.train
    base = None if plan.base is None else open_checkpoint(plan.base)
    if base is not None and base.kind != "gpt":
        raise ModelError("wrong_base", f"{plan.base.name} holds a {base.kind} model, and a gpt model is trained here.")
    if base is not None:
        config = merged(config, {"model": base.config["model"]})
    model = Text2Semantic(config, layer_dropout=config["train"]["layer_dropout"])
    if base is not None:
        try:
            model.load_state_dict({name: tensor.float() for name, tensor in base.state.items()}, strict=True)
        except RuntimeError as error:
            raise ModelError("wrong_base", f"{plan.base.name} does not fit its own config: {error}") from error
    return config, model


def _usable_items(plan: Plan, config: dict[str, Any], model: Text2Semantic) -> list[Item]:
    items, left_out = read_items(plan.data, symbols(plan.version), max_seconds=config["data"]["max_sec"])
    reasons = ", ".join(f"{count} for {reason}" for reason, count in left_out.most_common())
    if left_out:
        logger.warning("Left out %d recordings: %s.", left_out.total(), reasons)
    if len(items) < FEWEST_ITEMS:
        raise ModelError(
            "dataset_too_small",
            f"{len(items)} usable recordings were found, and at least {FEWEST_ITEMS} are needed."
            + (f" Left out: {reasons}." if reasons else ""),
            hint="Give a longer recording, or check its transcripts.",
        )
    dimensions = model.dimensions
    highest = max(max(item.tokens) for item in items), max(max(item.phones) for item in items)
    if highest[0] >= dimensions.end or highest[1] >= dimensions.phones:
        raise ModelError(
            "wrong_base" if plan.base else "bad_dataset",
            f"The training set holds tokens up to {highest[0]} and phonemes up to {highest[1]}; "
            f"the model knows {dimensions.end} and {dimensions.phones}.",
        )
    return items


def _schedule(plan: Plan, config: dict[str, Any], batches: int) -> Schedule:
    train = config["train"]
    return Schedule(
        epochs=plan.epochs,
        batches=batches,
        update_every=train["update_every"],
        learning_rate=train["learning_rate"],
        warmup_updates=train["warmup_updates"],
        final_factor=train["final_rate_factor"],
        compat=plan.compat,
    )


def _fingerprint(plan: Plan, config: dict[str, Any], items: list[Item]) -> str:
    """Tells whether a saved state belongs to this plan; more epochs may be asked of it later."""
    content = [
        [[item.name, item.phones, item.tokens, item.bert is not None] for item in items],
        config,
        [plan.version, plan.batch_size, plan.seed, str(plan.base), plan.dpo, plan.compat, plan.device],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
