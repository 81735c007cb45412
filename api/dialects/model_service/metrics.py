"""The numbers of a training under the names of the model service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from typing_extensions import TypedDict

_OURS: Final = ("epoch", "total_epochs", "learning_rate")
"""Numbers that have the same name in both."""


class LatestMetrics(TypedDict):
    """The newest numbers; null where one has no meaning for sound. Our own stand beside them."""

    epoch: int
    total_epochs: int
    train_loss: float | None
    train_acc: float | None
    val_loss: float | None
    val_acc: float | None
    macro_f1: float | None
    micro_f1: float | None
    mAP: float | None
    top1_acc: float | None
    top3_acc: float | None
    top5_acc: float | None
    precision: float | None
    recall: float | None
    learning_rate: float | None
    best_acc: float | None


def latest_metrics(metrics: Mapping[str, Any], total_epochs: int) -> dict[str, Any] | None:
    """Return the metrics of a stage's run; None before the first of them."""
    if "epoch" not in metrics:
        return None
    accuracy = _percent(metrics.get("epoch_top3_accuracy", metrics.get("top3_accuracy")))
    best = _percent(metrics.get("best_top3_accuracy"))
    named: LatestMetrics = {
        "epoch": int(metrics["epoch"]),
        "total_epochs": int(metrics.get("total_epochs") or total_epochs),
        "train_loss": metrics.get("epoch_loss", metrics.get("loss")),
        "train_acc": accuracy,
        "val_loss": None,
        "val_acc": None,
        "macro_f1": None,
        "micro_f1": None,
        "mAP": None,
        "top1_acc": None,
        "top3_acc": accuracy,
        "top5_acc": None,
        "precision": None,
        "recall": None,
        "learning_rate": metrics.get("learning_rate"),
        "best_acc": accuracy if best is None else best,
    }
    ours = {name: value for name, value in metrics.items() if name not in _OURS}
    return {**ours, **named}


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 3)
