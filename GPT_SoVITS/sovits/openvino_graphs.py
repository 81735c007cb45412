"""The generator as a graph of OpenVINO, operation by operation as in generator.py.

Frames are padded to a bucket, since every new length costs time once. A mask undoes what that would change: the padding
is zero wherever a convolution reads it.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor, nn

from GPT_SoVITS.sovits.generator import LAST_SLOPE, Generator, ResBlock1, ResBlock2
from GPT_SoVITS.sovits.layers import LEAKY_SLOPE

Node = Any
"""OpenVINO has no types; nor is it there everywhere."""


class GraphBuilder:
    """Adds operations of one model; weights are shared with the modules and not copied."""

    def __init__(self, openvino: ModuleType) -> None:
        self.openvino = openvino
        self.ops = openvino.opset13
        self.inputs: list[Node] = []

    def input(self, shape: list[int]) -> Node:
        """Add an input; -1 is any length."""
        self.inputs.append(self.ops.parameter(shape, np.float32))
        return self.inputs[-1]

    def model(self, output: Node) -> Any:
        """Return the finished model."""
        return self.openvino.Model([output], self.inputs)

    def weights(self, tensor: Tensor, *shape: int) -> Node:
        """Add a constant."""
        return self.ops.constant(tensor.detach().view(*(shape or tensor.shape)).numpy(), shared_memory=True)

    def number(self, value: float) -> Node:
        """Add a constant."""
        return self.ops.constant(np.float32(value))

    def convolution(self, x: Node, layer: nn.Conv1d) -> Node:
        """Apply a convolution to (B, C, T)."""
        padding = [int(layer.padding[0])]
        y = self.ops.convolution(
            x, self.weights(layer.weight), list(layer.stride), padding, padding, list(layer.dilation)
        )
        return y if layer.bias is None else self.ops.add(y, self.weights(layer.bias, 1, -1, 1))

    def upsampling(self, x: Node, layer: nn.ConvTranspose1d) -> Node:
        """Apply a transposed convolution to (B, C, T)."""
        padding = [int(layer.padding[0])]
        y = self.ops.convolution_backprop_data(
            x, self.weights(layer.weight), list(layer.stride), pads_begin=padding, pads_end=padding
        )
        assert layer.bias is not None
        return self.ops.add(y, self.weights(layer.bias, 1, -1, 1))

    def activation(self, x: Node, mask: Node, slope: float) -> Node:
        """Apply a leaky ReLU, and set the padding to zero."""
        return self.ops.multiply(self.ops.prelu(x, self.number(slope)), mask)


def generator_graph(openvino: ModuleType, generator: Generator) -> Any:
    """Build a model from a latent (1, C, T), a style (1, G, 1) and a mask (1, 1, T) to a waveform (1, 1, T * hop)."""
    builder = GraphBuilder(openvino)
    ops = builder.ops
    latent = builder.input([1, generator.conv_pre.in_channels, -1])
    style = builder.input([1, generator.cond.in_channels, 1])
    mask = builder.input([1, 1, -1])
    x = ops.add(builder.convolution(latent, generator.conv_pre), builder.convolution(style, generator.cond))
    for i, (up, (rate, _)) in enumerate(zip(generator.ups, generator.upsampling)):
        assert isinstance(up, nn.ConvTranspose1d), "weight norms are folded"
        x = builder.upsampling(builder.activation(x, mask, LEAKY_SLOPE), up)
        mask = _repeated(builder, mask, rate)
        blocks = generator.resblocks[i * generator.branches : (i + 1) * generator.branches]
        branches = [_residual_block(builder, block, x, mask) for block in blocks]
        x = branches[0]
        for branch in branches[1:]:
            x = ops.add(x, branch)
        x = ops.multiply(x, builder.number(1 / generator.branches))
    x = builder.convolution(builder.activation(x, mask, LAST_SLOPE), generator.conv_post)
    return builder.model(ops.tanh(x))


def _repeated(builder: GraphBuilder, mask: Node, times: int) -> Node:
    """Repeat every frame of a mask (1, 1, T)."""
    scales, axes = np.array([times], np.float32), np.array([2], np.int64)
    return builder.ops.interpolate(
        mask,
        builder.ops.constant(scales),
        "nearest",
        "scales",
        axes=builder.ops.constant(axes),
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )


def _residual_block(builder: GraphBuilder, block: nn.Module, x: Node, mask: Node) -> Node:
    if isinstance(block, ResBlock1):
        pairs = [[first, second] for first, second in zip(block.convs1, block.convs2)]
    else:
        assert isinstance(block, ResBlock2)
        pairs = [[convolution] for convolution in block.convs]
    for layers in pairs:
        y = x
        for layer in layers:
            assert isinstance(layer, nn.Conv1d), "weight norms are folded"
            y = builder.convolution(builder.activation(y, mask, LEAKY_SLOPE), layer)
        x = builder.ops.add(y, x)
    return x
