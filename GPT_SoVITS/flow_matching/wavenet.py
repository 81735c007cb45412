"""The WaveNet between the encoder's frames and the condition (specification s2-v3v4 §5). Names are official keys."""

from __future__ import annotations

from torch import Tensor, nn

from GPT_SoVITS.sovits.layers import GatedStack


class WaveNet(nn.Module):
    """`wns1`: gated non-causal convolutions, conditioned on the style."""

    def __init__(self, channels: int, layers: int, kernel: int, style: int) -> None:
        super().__init__()
        self.pre = nn.Conv1d(channels, channels, 1)
        self.enc = GatedStack(channels, layers, style, kernel)
        self.proj = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, mask: Tensor, style: Tensor) -> Tensor:
        """Transform x (B, C, T) with a mask (B, 1, T) and a style (B, G, 1), which gets no gradient here."""
        return self.proj(self.enc(self.pre(x) * mask, mask, style.detach())) * mask
