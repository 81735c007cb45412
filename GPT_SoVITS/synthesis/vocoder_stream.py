"""Run a vocoder on a mel that arrives in pieces, with the output of one run on the whole mel."""

from __future__ import annotations

import torch
from torch import Tensor

from GPT_SoVITS.vocoders import Vocoder


class VocoderStream:
    """Holds back the frames that later ones can still change, and feeds enough of the earlier ones again.

    Both are `vocoder.context` frames: 0.4 s for BigVGAN, 0.14 s for v4's HiFi-GAN.
    """

    def __init__(self, vocoder: Vocoder) -> None:
        self.vocoder = vocoder
        self.mel: Tensor | None = None
        """(1, M, T) frames that are still needed."""
        self.emitted = 0
        """Frames at the beginning of `mel` whose samples were returned."""

    @torch.inference_mode()
    def push(self, mel: Tensor, *, last: bool) -> Tensor:
        """Add mel frames (1, M, t), log magnitudes, and return the samples (n,) on the CPU that are final now.

        After the `last` piece all samples are out and the next push begins a new wave.
        """
        mel = mel if self.mel is None else torch.cat([self.mel, mel], dim=2)
        frames, context = mel.shape[2], self.vocoder.context
        ready = frames if last else max(self.emitted, frames - context)
        hop = self.vocoder.hop
        samples = torch.zeros(0)
        if ready > self.emitted:
            samples = self.vocoder(mel)[0, 0, self.emitted * hop : ready * hop].float().cpu()
        dropped = 0 if last else max(0, ready - context)
        self.mel, self.emitted = (None, 0) if last else (mel[:, :, dropped:], ready - dropped)
        return samples
