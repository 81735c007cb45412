"""Building blocks of stage 2 (specification s2-sovits §4); attribute names are official checkpoint keys.

Shapes: B batch, H channels, T frames; masks are (B, 1, T) of ones and zeros.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MASKED_SCORE = -1e4
"""What replaces a masked attention score; not minus infinity, so a fully masked row stays finite."""
LEAKY_SLOPE = 0.1

Conv = TypeVar("Conv", nn.Conv1d, nn.ConvTranspose1d)


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """Return the mask (B, 1, size) of lengths (B,): ones before each length and zeros after it."""
    return (torch.arange(size, device=lengths.device) < lengths[:, None])[:, None].float()


class WeightNorm(nn.Module):
    """A convolution whose kernel is g * v / ||v||, stored as `weight_g` and `weight_v`.

    This is the scheme of the official files, which torch deprecates. The norm is taken over all dimensions but the
    first.
    """

    def __init__(self, shape: tuple[int, ...], biases: int) -> None:
        super().__init__()
        kernel = torch.empty(shape)
        nn.init.kaiming_uniform_(kernel, a=math.sqrt(5))
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        self.weight_v = nn.Parameter(kernel)
        self.weight_g = nn.Parameter(kernel.flatten(1).norm(dim=1).view(-1, *[1] * (len(shape) - 1)))
        self.bias = nn.Parameter(torch.empty(biases).uniform_(-bound, bound))

    @property
    def kernel(self) -> Tensor:
        """The kernel that weight normalization gives."""
        return torch._weight_norm(self.weight_v, self.weight_g, 0)

    @torch.no_grad()
    def reset(self, deviation: float) -> None:
        """Initialize the kernel from N(0, deviation)."""
        self.weight_v.normal_(0.0, deviation)
        self.weight_g.copy_(self.weight_v.flatten(1).norm(dim=1).view_as(self.weight_g))

    def folded(self) -> nn.Module:
        """Return the same layer with a plain kernel, for inference."""
        raise NotImplementedError


class NormedConv1d(WeightNorm):
    """A weight-normed Conv1d from (B, inputs, T) to (B, outputs, T)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__((outputs, inputs // groups, size), outputs)
        self.shape = (inputs, outputs, size)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, inputs, T)."""
        return F.conv1d(x, self.kernel, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def folded(self) -> nn.Conv1d:
        """Return the same layer with a plain kernel."""
        layer = nn.Conv1d(*self.shape, self.stride, self.padding, self.dilation, self.groups, device="meta")
        return _set_weights(layer, self)


class NormedConv2d(WeightNorm):
    """A weight-normed Conv2d; only the discriminator has it, which is never folded."""

    def __init__(
        self, inputs: int, outputs: int, size: tuple[int, int], *, stride: tuple[int, int], padding: tuple[int, int]
    ) -> None:
        super().__init__((outputs, inputs, *size), outputs)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, inputs, height, width)."""
        return F.conv2d(x, self.kernel, self.bias, self.stride, self.padding)


class NormedConvTranspose1d(WeightNorm):
    """A weight-normed ConvTranspose1d; its kernel is (inputs, outputs, size), so g has one number per *input*."""

    def __init__(self, inputs: int, outputs: int, size: int, *, stride: int, padding: int) -> None:
        super().__init__((inputs, outputs, size), outputs)
        self.shape = (inputs, outputs, size)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (B, inputs, T)."""
        return F.conv_transpose1d(x, self.kernel, self.bias, self.stride, self.padding)

    def folded(self) -> nn.ConvTranspose1d:
        """Return the same layer with a plain kernel."""
        return _set_weights(nn.ConvTranspose1d(*self.shape, self.stride, self.padding, device="meta"), self)


def fold_weight_norm(module: nn.Module) -> None:
    """Replace every weight-normed layer inside a module by a plain one; the module can then not be trained."""
    for name, child in module.named_children():
        if isinstance(child, WeightNorm):
            setattr(module, name, child.folded())
        else:
            fold_weight_norm(child)


def _set_weights(layer: Conv, source: WeightNorm) -> Conv:
    layer.weight = nn.Parameter(source.kernel.detach(), requires_grad=False)
    layer.bias = nn.Parameter(source.bias.detach().clone(), requires_grad=False)
    return layer


class ChannelNorm(nn.Module):
    """Layer norm over the channels of (B, H, T)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (B, H, T)."""
        return F.layer_norm(x.transpose(1, 2), self.gamma.shape, self.gamma, self.beta, 1e-5).transpose(1, 2)


class ConvAttention(nn.Module):
    """Multi-head attention over (B, H, T) by 1x1 convolutions.

    A `window` adds embeddings of relative positions, which the heads share.
    """

    def __init__(self, channels: int, heads: int, *, dropout: float = 0.0, window: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.dropout = dropout
        self.conv_q = nn.Conv1d(channels, channels, 1)
        self.conv_k = nn.Conv1d(channels, channels, 1)
        self.conv_v = nn.Conv1d(channels, channels, 1)
        self.conv_o = nn.Conv1d(channels, channels, 1)
        if window is not None:
            width = channels // heads
            self.emb_rel_k = nn.Parameter(torch.randn(1, 2 * window + 1, width) * width**-0.5)
            self.emb_rel_v = nn.Parameter(torch.randn(1, 2 * window + 1, width) * width**-0.5)
        for layer in (self.conv_q, self.conv_k, self.conv_v):
            nn.init.xavier_uniform_(layer.weight)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        x_mask: Tensor,
        memory_mask: Tensor,
        observe: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        """Attend from x (B, H, T) to memory (B, H, S); `observe` is told the weights (B, h, T, S)."""
        q = self._split(self.conv_q(x))  # (B, h, T, d)
        k = self._split(self.conv_k(memory))  # (B, h, S, d)
        v = self._split(self.conv_v(memory))
        q = q / math.sqrt(q.shape[-1])
        scores = q @ k.transpose(-1, -2)  # (B, h, T, S)
        if self.window is not None:
            scores = scores + _band_to_square(q @ self.emb_rel_k[0].T, self.window)
        mask = x_mask[:, :, :, None] * memory_mask[:, :, None]  # (B, 1, T, S)
        weights = scores.masked_fill(mask == 0, MASKED_SCORE).softmax(dim=-1)
        if observe is not None:
            observe(weights)
        weights = F.dropout(weights, self.dropout, self.training)
        out = weights @ v
        if self.window is not None:
            out = out + _square_to_band(weights, self.window) @ self.emb_rel_v[0]
        return self.conv_o(out.transpose(2, 3).flatten(1, 2))  # (B, H, T)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.heads, -1)).transpose(2, 3)


def _band_to_square(band: Tensor, window: int) -> Tensor:
    """Convert (B, h, T, 2w+1) by relative position to (B, h, T, T) by absolute one, zeros outside the window.

    Rows that are one longer than the table shift by one each when they are read at the table's own width.
    """
    size, width = band.shape[2], band.shape[2] + 2 * window
    rows = F.pad(band, (0, width + 1 - band.shape[3])).flatten(2)[..., : size * width]
    return rows.unflatten(2, (size, width))[..., window : window + size]


def _square_to_band(square: Tensor, window: int) -> Tensor:
    """Convert (B, h, T, T) to (B, h, T, 2w+1), the reverse of `_band_to_square`."""
    size, width = square.shape[2], square.shape[2] + 2 * window
    rows = F.pad(F.pad(square, (window, window)).flatten(2), (0, size))
    return rows.unflatten(2, (size, width + 1))[..., : 2 * window + 1]


class FeedForward(nn.Module):
    """Two convolutions with zero padding that keeps the length."""

    def __init__(self, channels: int, inner: int, size: int, dropout: float) -> None:
        super().__init__()
        self.pad = ((size - 1) // 2, size // 2)
        self.dropout = dropout
        self.conv_1 = nn.Conv1d(channels, inner, size)
        self.conv_2 = nn.Conv1d(inner, channels, size)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Transform (B, H, T)."""
        x = F.relu(self.conv_1(F.pad(x * mask, self.pad)))
        x = F.dropout(x, self.dropout, self.training)
        return self.conv_2(F.pad(x * mask, self.pad)) * mask


class EncoderStack(nn.Module):
    """Transformer layers with relative attention and post-norm."""

    def __init__(
        self, channels: int, inner: int, heads: int, layers: int, size: int, dropout: float, window: int = 4
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.attn_layers = nn.ModuleList(
            ConvAttention(channels, heads, dropout=dropout, window=window) for _ in range(layers)
        )
        self.norm_layers_1 = nn.ModuleList(ChannelNorm(channels) for _ in range(layers))
        self.ffn_layers = nn.ModuleList(FeedForward(channels, inner, size, dropout) for _ in range(layers))
        self.norm_layers_2 = nn.ModuleList(ChannelNorm(channels) for _ in range(layers))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Transform (B, H, T)."""
        x = x * mask
        layers = zip(self.attn_layers, self.norm_layers_1, self.ffn_layers, self.norm_layers_2)
        for attention, norm_1, feed_forward, norm_2 in layers:
            x = norm_1(x + F.dropout(attention(x, x, mask, mask), self.dropout, self.training))
            x = norm_2(x + F.dropout(feed_forward(x, mask), self.dropout, self.training))
        return x * mask


class GatedStack(nn.Module):
    """Gated convolutions as in WaveNet, conditioned on a style."""

    SIZE = 5
    """Frames that a kernel spans."""

    def __init__(self, channels: int, layers: int, style: int, size: int = SIZE) -> None:
        super().__init__()
        self.channels = channels
        self.cond_layer = NormedConv1d(style, 2 * channels * layers, 1)
        self.in_layers = nn.ModuleList(
            NormedConv1d(channels, 2 * channels, size, padding=size // 2) for _ in range(layers)
        )
        self.res_skip_layers = nn.ModuleList(
            NormedConv1d(channels, 2 * channels if i < layers - 1 else channels, 1) for i in range(layers)
        )

    def forward(self, x: Tensor, mask: Tensor, style: Tensor) -> Tensor:
        """Transform (B, H, T) with a style (B, G, 1)."""
        conditions = self.cond_layer(style).chunk(len(self.in_layers), dim=1)
        total = torch.zeros_like(x)
        for i, (conv, res_skip, condition) in enumerate(zip(self.in_layers, self.res_skip_layers, conditions)):
            filtered, gate = (conv(x) + condition).chunk(2, dim=1)
            out = res_skip(torch.tanh(filtered) * torch.sigmoid(gate))
            if i < len(self.in_layers) - 1:
                residual, out = out.chunk(2, dim=1)
                x = (x + residual) * mask
            total = total + out
        return total * mask
