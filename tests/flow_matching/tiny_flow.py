"""A tiny v3 or v4, and one training step of it with all draws given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.configs.sections import read_section
from GPT_SoVITS.flow_matching import lora
from GPT_SoVITS.flow_matching.cfm import RandomDraws
from GPT_SoVITS.flow_matching.config import FlowMatchingTrainSettings
from GPT_SoVITS.flow_matching.model import FlowMatchingBatch, FlowMatchingSoVITS
from GPT_SoVITS.flow_matching.optimizer_step import FlowMatchingOptimizerStep
from GPT_SoVITS.training.distributed import ProcessGroup

TINY: dict[str, dict[str, Any]] = {
    "data": {"mel": {"n_mels": 12}},
    "model": {
        "ssl_dim": 16,
        "codebook_bins": 24,
        "inter_channels": 8,
        "hidden_channels": 8,
        "filter_channels": 16,
        "n_layers": 2,
        "gin_channels": 16,
        "mrte_hidden": 16,
        "mrte_heads": 2,
        "ref_style_hidden": 8,
        "bridge_channels": 16,
        "wns1_layers": 2,
        "mel": 12,
        "dit": {"dim": 32, "depth": 2, "heads": 2, "dim_head": 16, "mel_dim": 12, "text_dim": 16, "conv_layers": 1},
    },
    "train": {"epoch_items": 12},
}


def tiny_of(version: str) -> dict[str, Any]:
    return merge_config(load_config(version), TINY)


def lively(config: dict[str, Any]) -> FlowMatchingSoVITS:
    """Random weights, of which none is the zero that a fresh model begins some with."""
    torch.manual_seed(7)
    model = FlowMatchingSoVITS.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".grn." in name:
                parameter.normal_(0, 0.5)
    return model


def make_batch(rows: slice) -> tuple[FlowMatchingBatch, RandomDraws]:
    """Return some of four equally long rows that learn the flow."""
    generator = torch.Generator().manual_seed(3)
    whole = {
        "spec": torch.rand(4, 1025, 20, generator=generator),
        "spec_lengths": torch.full((4,), 20),
        "mel": torch.randn(4, 12, 40, generator=generator),
        "mel_lengths": torch.full((4,), 40),
        "text": torch.randint(0, 700, (4, 6), generator=generator),
        "text_lengths": torch.full((4,), 6),
        "ssl": torch.randn(4, 16, 20, generator=generator),
    }
    draws = RandomDraws(
        torch.rand(4, generator=generator), torch.rand(4, generator=generator), whole["mel"].flip(0), None
    )
    mine = RandomDraws(draws.prompt[rows], draws.time[rows], draws.noise[rows], None)
    return FlowMatchingBatch(**{name: tensor[rows] for name, tensor in whole.items()}), mine


def learned(rows: slice, group: ProcessGroup | None = None) -> dict[str, Tensor]:
    """Return the weights that learn, after an update."""
    config = tiny_of("v4")
    # A large eps: at Adam's usual one, a first update is the sign of every gradient, rounding's among them.
    settings = replace(read_section(FlowMatchingTrainSettings, config["train"], extra=True), eps=1.0)
    model = lora.inject(lively(config), 4)
    step = FlowMatchingOptimizerStep(model.eval(), settings, group=group)
    step.set_rate(1.0)
    batch, draws = make_batch(rows)
    step([batch], [draws])
    return {name: parameter.detach() for name, parameter in step.trained.items()}
