"""A vocoder fed piece by piece that sounds as if it had heard the whole mel at once."""

from __future__ import annotations

import torch
from torch import Tensor

from GPT_SoVITS.vocoders import Vocoder


class VocoderStream:
    """Holds back the frames that later ones can still change, and hears enough of the earlier ones again.

    Both are `vocoder.context` frames: 0.4 s for BigVGAN, 0.14 s for v4's HiFi-GAN.
    """

    def __init__(self, vocoder: Vocoder) -> None:
        self.vocoder = vocoder
        self.mel: Tensor | None = None
        """(1, M, T) frames that are still needed."""
        self.heard = 0
        """Frames at the beginning of `mel` whose samples are out already."""

    @torch.inference_mode()
    def push(self, mel: Tensor, *, last: bool) -> Tensor:
        """mel (1, M, t), log magnitudes -> (n,) samples on the CPU that are final now, perhaps none.

        After the `last` piece all samples are out and the next push begins a new sound.
        """
        mel = mel if self.mel is None else torch.cat([self.mel, mel], dim=2)
        frames, context = mel.shape[2], self.vocoder.context
        ready = frames if last else max(self.heard, frames - context)
        hop = self.vocoder.hop
        samples = torch.zeros(0)
        if ready > self.heard:
            samples = self.vocoder(mel)[0, 0, self.heard * hop : ready * hop].float().cpu()
        kept = 0 if last else max(0, ready - context)
        self.mel, self.heard = (None, 0) if last else (mel[:, :, kept:], ready - kept)
        return samples
