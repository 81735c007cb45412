"""One training step on a batch of four equally long items, whole or by halves, with all draws given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.sovits.adversarial_step import AdversarialOptimizerStep, ForwardDraws
from GPT_SoVITS.sovits.discriminator import Discriminator
from GPT_SoVITS.sovits.model import SoVITS, SoVITSBatch
from GPT_SoVITS.training.distributed import ProcessGroup
from GPT_SoVITS.training.precision import Precision

TINY: dict[str, dict[str, Any]] = {
    "model": {
        "ssl_dim": 16,
        "codebook_bins": 24,
        "inter_channels": 8,
        "hidden_channels": 8,
        "filter_channels": 16,
        "n_layers": 2,
        "p_dropout": 0.1,
        "gin_channels": 8,
        "mrte_hidden": 8,
        "ref_style_hidden": 8,
        "posterior_layers": 2,
        "flow_couplings": 2,
        "flow_layers": 1,
        "frames": None,
        "upsample_initial_channel": 32,
        "upsample_rates": [8, 5, 4, 2],
        "upsample_kernel_sizes": [16, 11, 8, 4],
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 3]],
    },
    "discriminator": {
        "waveform_channels": [2, 2, 4, 4, 4, 4],
        "waveform_groups": [1, 1, 1, 1, 1, 1],
        "period_channels": [2, 2, 4, 4, 4],
        "periods": [2, 3],
    },
    "train": {
        "learning_rate": 1.5e-3,
        "encoder_lr_rate": 0.25,
        "segment_size": 2560,
        "discriminator_start": 0.4,
        "crop_frames": 24,
        "epoch_items": 12,
        "clip_norm": None,
    },
}
"""A recipe that computes in milliseconds: v2's model at nano's rate."""
FRAMES = 30


def make_step(
    group: ProcessGroup | None = None, *, precision: str = "fp32", dropout: bool = False
) -> AdversarialOptimizerStep:
    # A large eps: at Adam's usual one, a first update is the sign of every gradient, rounding's among them.
    changes = {"eps": 1.0}
    config = merge_config(
        load_config("nano"), merge_config(TINY, {"train": changes, "model": {"p_dropout": 0.1 * dropout}})
    )
    torch.manual_seed(11)
    generator = SoVITS.from_config(config).train()
    # Loud, since the logarithm of near-silence resolves rounding.
    generator.dec.get_parameter("conv_post.weight").data.mul_(100)
    discriminator = Discriminator.from_config(config).train()
    for module in generator.modules():
        if isinstance(module, nn.Dropout) and not dropout:
            module.p = 0.0
    device = torch.device("cpu")
    arithmetic = Precision(precision, device, first_scale=2.0**10)
    step = AdversarialOptimizerStep(generator, discriminator, config, precision=arithmetic, group=group)
    step.set_rate(1e-3)
    return step


def make_batch(rows: slice) -> tuple[SoVITSBatch, ForwardDraws]:
    generator = torch.Generator().manual_seed(3)
    wave = torch.randn(4, 1, FRAMES * 320, generator=generator) * 0.1
    lengths = torch.full((4,), FRAMES)
    whole = {
        "spec": torch.rand(4, 513, FRAMES, generator=generator),
        "spec_lengths": lengths,
        "wave": wave,
        "text": torch.randint(0, 100, (4, 6), generator=generator),
        "text_lengths": torch.full((4,), 6),
    }
    codes = torch.randint(0, 24, (1, 4, FRAMES // 2), generator=generator)
    draws = {"slice_u": torch.rand(4, generator=generator), "noise": torch.randn(4, 8, FRAMES, generator=generator)}
    batch = SoVITSBatch(**{name: tensor[rows] for name, tensor in whole.items()}, codes=codes[:, rows])
    return batch, {"slice_u": draws["slice_u"][rows], "noise": draws["noise"][rows]}


def gradients_of(step: AdversarialOptimizerStep, *, halves: list[int] | None = None) -> dict[str, Tensor]:
    """Gradients as both optimisers use them, after learning from the whole batch or from some of its halves."""
    parts = [slice(0, 4)] if halves is None else [slice(2 * half, 2 * half + 2) for half in halves]
    pairs = [make_batch(rows) for rows in parts]
    seen: dict[str, Tensor] = {}
    for which, model in (("generator", step.generator), ("discriminator", step.discriminator)):
        named = {f"{which}.{name}": parameter for name, parameter in model.named_parameters()}
        step.optimizers[which].register_step_pre_hook(
            lambda *_, named=named: seen.update({n: p.grad.clone() for n, p in named.items() if p.grad is not None})
        )
    step([batch for batch, _ in pairs], draws=[draws for _, draws in pairs])
    return seen


def assert_same_gradients(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """To 1e-4 of each tensor's size, or of 1e-6 of them all where a tensor's gradient is rounding."""
    assert ours.keys() == theirs.keys()
    total = float(sum(tensor.square().sum() for tensor in theirs.values()) ** 0.5)
    for name, tensor in theirs.items():
        bound = 1e-4 * float(tensor.norm()) + 1e-6 * total
        assert float((ours[name] - tensor).norm()) <= bound, name
