"""The networks as OpenVINO graphs, built directly from the weights.

Tracing the PyTorch module takes seconds and gigabytes. Building the graph takes a few tenths of a second, and most
constants share the memory of the weights. Consecutive linear operations become one operation: the result is the same up
to rounding, with less computation and less memory traffic. The tests compare all networks with PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from swfastedit_core.box import Triple
from swfastedit_core.engine.instance_norm import NORMS
from swfastedit_core.engine.openvino_runtime import openvino, opset13
from swfastedit_core.model import LEAK, NORM_EPSILON, NetworkConfig

ONE: Triple = (1, 1, 1)
IMAGE_CHANNELS = 2  # largest number: PET and CT
OUTPUT_VOXELS = 8  # voxels along z that the last convolution computes at once
# Smallest number of input channels for which oneDNN computes the last convolution correctly on AMX.
MATRIX_CHANNELS = 32


def build_dynunet_graph(
    config: NetworkConfig, weights: Mapping[str, np.ndarray], *, window: Triple, precision: str
) -> openvino.Model:
    """Build the network for one window, with one output channel: tumour minus background.

    Parameters
    ----------
    config
        Description of the network.
    weights
        State dict of the network, float32. Kernels that are used unchanged share its memory.
    window
        Sides of the window in voxels.
    precision
        Precision of the graph, ``float32`` or ``bfloat16``. It selects the implementation of instance norm.

    Returns
    -------
    openvino.Model
        float32 [1, C, X, Y, Z] to float32 [1, 1, X, Y, Z], tumour logit minus background logit.
    """
    strides = config.architecture.strides
    build = _GraphBuilder(weights, precision)
    image = opset13.parameter([1, config.in_channels, *window], np.float32, name="window")
    x = build.residual(image, "input_block", ONE)
    skips = []
    for level, stride in enumerate(strides[:-1]):
        skips.append(x)
        x = build.residual(x, f"downsamples.{level}", stride)
    skips.append(x)
    x = build.residual(x, "bottleneck", strides[-1])
    for number, stride in enumerate(reversed(strides)):
        x = build.up(x, skips.pop(), f"upsamples.{number}", stride)
    return openvino.Model([build.output(x, window)], [image], config.name)


class _GraphBuilder:
    """Builds the blocks of `model`; tensors have the same names."""

    def __init__(self, weights: Mapping[str, np.ndarray], precision: str) -> None:
        self._weights = weights
        self._norm = NORMS[precision]()
        self._leak = opset13.constant(np.array([LEAK], np.float32))

    def residual(self, x: openvino.Node, name: str, stride: Triple) -> openvino.Node:
        y = self._activation(self._norm(self._conv(x, f"{name}.conv1", stride)))
        y = self._norm(self._conv(y, f"{name}.conv2", ONE))
        return self._activation(opset13.add(y, self._shortcut(x, f"{name}.conv3", stride)))

    def up(self, x: openvino.Node, skip: openvino.Node, name: str, stride: Triple) -> openvino.Node:
        """Build a step up.

        Its transposed convolution is merged with the part of the next convolution whose input is the upsampled tensor.
        """
        first = self._weights[f"{name}.conv_block.conv1.conv.weight"]
        transposed = self._weights[f"{name}.transp_conv.conv.weight"]
        upsampled = transposed.shape[1]
        kernel = merged_kernel(transposed, first[:, :upsampled])
        padding = [side // 2 for side in first.shape[2:]]
        y = opset13.convolution_backprop_data(
            x,
            opset13.constant(kernel),
            strides=list(stride),
            pads_begin=padding,
            pads_end=padding,
            dilations=[1] * 3,
        )
        y = opset13.add(y, self._convolution(skip, first[:, upsampled:], ONE))
        y = self._activation(self._norm(y))
        return self._activation(self._norm(self._conv(y, f"{name}.conv_block.conv2", ONE)))

    def output(self, x: openvino.Node, window: Triple) -> openvino.Node:
        """Build the last 1×1×1 convolution, whose output has one channel.

        It computes several z positions as output channels, because matrix units are fast with many channels. A
        transpose and a reshape restore the order. On AMX, oneDNN 3.x computes such a convolution wrongly if it has
        fewer than 32 input channels and channels × width is a multiple of 32. So networks with fewer than 32 channels
        compute each z position separately.
        """
        kernel, bias = (self._weights[f"output_block.conv.conv.{what}"] for what in ("weight", "bias"))
        count = math.gcd(window[2], OUTPUT_VOXELS) if kernel.shape[1] >= MATRIX_CHANNELS else 1
        weights = np.zeros((count, kernel.shape[1], 1, 1, count), np.float32)
        for position in range(count):
            weights[position, :, 0, 0, position] = (kernel[1:] - kernel[:1]).reshape(-1)
        y = self._convolution(x, weights, (1, 1, count), padding=(0, 0, 0))
        y = opset13.add(y, opset13.constant((bias[1:] - bias[:1]).reshape(1, 1, 1, 1, 1)))
        y = opset13.transpose(y, opset13.constant(np.array([0, 2, 3, 4, 1], np.int64)))
        return opset13.reshape(y, opset13.constant(np.array([1, 1, *window], np.int64)), special_zero=False)

    def _shortcut(self, x: openvino.Node, name: str, stride: Triple) -> openvino.Node:
        """Build the shortcut of a residual block: a normalised 1×1×1 convolution, or `x` if the block has none.

        For one input channel x with mean m and variance v, the result is w (x - m) / √(w² v + ε). So m and v are
        computed once for all filters.
        """
        if f"{name}.conv.weight" not in self._weights:
            return x
        if self._weights[f"{name}.conv.weight"].shape[1] > 1 or stride != ONE:
            return self._norm(self._conv(x, name, stride))
        w = self._weights[f"{name}.conv.weight"].reshape(1, -1, 1, 1, 1)
        for _ in range(2):  # the first mean is rounded to the network's precision; the second removes the rest
            x = opset13.subtract(x, self._norm.mean(x))
        variance = self._norm.mean(opset13.multiply(x, x))
        denominator_squared = opset13.add(
            opset13.multiply(opset13.constant(w**2), variance), opset13.constant(np.float32(NORM_EPSILON))
        )
        return opset13.multiply(x, opset13.divide(opset13.constant(w), opset13.sqrt(denominator_squared)))

    def _conv(self, x: openvino.Node, name: str, stride: Triple) -> openvino.Node:
        kernel = self._weights[f"{name}.conv.weight"]
        if kernel.shape[1] <= IMAGE_CHANNELS and stride == ONE:
            return self._conv_of_image(x, kernel)
        return self._convolution(x, kernel, stride)

    def _conv_of_image(self, x: openvino.Node, kernel: np.ndarray) -> openvino.Node:
        """Build a convolution of the image.

        Neighbouring voxels along z become channels, because matrix units are fast with many channels.
        """
        filters, channels, *plane, depth = kernel.shape
        shifts = np.zeros((channels, depth, channels, 1, 1, depth), np.float32)
        for channel, position in np.ndindex(channels, depth):
            shifts[channel, position, channel, 0, 0, position] = 1.0
        neighbours = self._convolution(x, shifts.reshape(channels * depth, channels, 1, 1, depth), ONE)
        flat = np.moveaxis(kernel, -1, 2).reshape(filters, channels * depth, *plane, 1)
        return self._convolution(neighbours, flat, ONE)

    def _convolution(
        self, x: openvino.Node, kernel: np.ndarray, stride: Triple, *, padding: Triple | None = None
    ) -> openvino.Node:
        around = list(padding) if padding is not None else [side // 2 for side in kernel.shape[2:]]
        constant = opset13.constant(np.ascontiguousarray(kernel), shared_memory=True)
        return opset13.convolution(
            x, constant, strides=list(stride), pads_begin=around, pads_end=around, dilations=[1] * 3
        )

    def _activation(self, x: openvino.Node) -> openvino.Node:
        return opset13.prelu(x, self._leak)


def merged_kernel(transposed: np.ndarray, following: np.ndarray) -> np.ndarray:
    """Merge a transposed convolution, whose kernel is as large as its stride, and the convolution that follows.

    Parameters
    ----------
    transposed
        float32 [C, M, sx, sy, sz], stride s.
    following
        float32 [F, M, kx, ky, kz], all odd, padded by k // 2.

    Returns
    -------
    ndarray
        float32 [C, F, sx + kx - 1, …], the kernel of one transposed convolution of stride s, padded by k // 2, with
        the same result. Along an axis, the transposed convolution writes input voxel i to output voxels s i to
        s i + s - 1. The convolution adds k // 2 voxels on both sides.
    """
    stride, side = transposed.shape[2:], following.shape[2:]
    # Products of matrices [sx, sy, sz, C, M]. PyTorch computes them, because it respects its thread limit.
    upsampling_matrices = torch.from_numpy(np.ascontiguousarray(np.moveaxis(transposed, (0, 1), (3, 4))))
    merged = torch.zeros((*(s + k - 1 for s, k in zip(stride, side, strict=True)), len(transposed), len(following)))
    for offset in np.ndindex(*side):
        # A convolution gathers from neighbours, a transposed convolution scatters to them. So the kernel is reversed.
        tap = following[(slice(None), slice(None), *(k - 1 - o for k, o in zip(side, offset, strict=True)))]
        x, y, z = (slice(o, o + s) for o, s in zip(offset, stride, strict=True))
        merged[x, y, z] += upsampling_matrices @ torch.from_numpy(np.ascontiguousarray(tap.T))
    return np.ascontiguousarray(np.moveaxis(merged.numpy(), (3, 4), (0, 1)))
