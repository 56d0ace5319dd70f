"""The networks as OpenVINO graphs, built from the weights.

Tracing the PyTorch module takes seconds and gigabytes. This takes a few tenths of a second, and most constants share
the memory of the weights. Linear steps that follow each other are merged into one: the result is the same up to
rounding, and there is less to compute and to move. The tests compare the graphs with PyTorch.

OpenVINO's MVN sums a window in float32, one voxel after the other. At 128³ voxels, with much constant air, a normalised
convolution is then wrong by up to 0.3, and the logits of a random network by up to 0.65. In float32 the graph takes
means axis by axis instead: logits are wrong by up to 1.3e-4 (PyTorch: 0.9e-4), in the same time. In bfloat16 both forms
are equally exact, and MVN is faster with the large network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from swfastedit_core.box import Triple
from swfastedit_core.engine.openvino_runtime import openvino, opset13
from swfastedit_core.model import LEAK, NORM_EPSILON, NetworkConfig

ONE: Triple = (1, 1, 1)
FEW = 2  # channels of an image: PET, or PET and CT
NEIGHBOURS = 8  # voxels along z that the last convolution computes together


def dynunet_graph(
    config: NetworkConfig, weights: Mapping[str, np.ndarray], *, window: Triple, exact: bool
) -> openvino.Model:
    """Build the network for one window, with its two output channels folded into one.

    Parameters
    ----------
    config
        Which network.
    weights
        Its state dict, float32. Kernels that stay as they are share its memory.
    window
        Sides of the window in voxels.
    exact
        Normalise with exact means instead of OpenVINO's MVN: for float32.

    Returns
    -------
    openvino.Model
        float32 [1, C, X, Y, Z] to float32 [1, 1, X, Y, Z], tumour logit minus background logit.
    """
    strides = config.architecture.strides
    builder = _GraphBuilder(weights, exact=exact)
    image = opset13.parameter([1, config.in_channels, *window], np.float32, name="window")
    x = builder.residual(image, "input_block", ONE)
    skips = []
    for level, stride in enumerate(strides[:-1]):
        skips.append(x)
        x = builder.residual(x, f"downsamples.{level}", stride)
    skips.append(x)
    x = builder.residual(x, "bottleneck", strides[-1])
    for number, stride in enumerate(reversed(strides)):
        x = builder.up(x, skips.pop(), f"upsamples.{number}", stride)
    return openvino.Model([builder.output(x, window)], [image], config.name)


class _GraphBuilder:
    """Builds the blocks of `model`, under the same names."""

    def __init__(self, weights: Mapping[str, np.ndarray], *, exact: bool) -> None:
        self._weights, self._exact = weights, exact
        self._axes = opset13.constant(np.array([2, 3, 4], np.int64))
        self._leak = opset13.constant(np.array([LEAK], np.float32))

    def residual(self, x: openvino.Node, name: str, stride: Triple) -> openvino.Node:
        y = self._activate(self._normalise(self._conv(x, f"{name}.conv1", stride)))
        y = self._normalise(self._conv(y, f"{name}.conv2", ONE))
        return self._activate(opset13.add(y, self._branch(x, f"{name}.conv3", stride)))

    def up(self, x: openvino.Node, skip: openvino.Node, name: str, stride: Triple) -> openvino.Node:
        """Build a step up; its transposed convolution is merged with the half of the next convolution that reads it."""
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
        y = opset13.add(y, self._convolve(skip, first[:, upsampled:], ONE))
        y = self._activate(self._normalise(y))
        return self._activate(self._normalise(self._conv(y, f"{name}.conv_block.conv2", ONE)))

    def output(self, x: openvino.Node, window: Triple) -> openvino.Node:
        """Build the last 1×1×1 convolution, with one output channel.

        A few neighbours along z are computed as channels, for the matrix units, and become neighbours again. With fewer
        than 32 input channels oneDNN 3.x returns wrong numbers for that on AMX (channels × width a multiple of 32).
        """
        kernel, bias = (self._weights[f"output_block.conv.conv.{what}"] for what in ("weight", "bias"))
        count = math.gcd(window[2], NEIGHBOURS) if kernel.shape[1] >= 32 else 1
        weights = np.zeros((count, kernel.shape[1], 1, 1, count), np.float32)
        for position in range(count):
            weights[position, :, 0, 0, position] = (kernel[1:] - kernel[:1]).reshape(-1)
        y = self._convolve(x, weights, (1, 1, count), padding=(0, 0, 0))
        y = opset13.add(y, opset13.constant((bias[1:] - bias[:1]).reshape(1, 1, 1, 1, 1)))
        y = opset13.transpose(y, opset13.constant(np.array([0, 2, 3, 4, 1], np.int64)))
        return opset13.reshape(y, opset13.constant(np.array([1, 1, *window], np.int64)), special_zero=False)

    def _branch(self, x: openvino.Node, name: str, stride: Triple) -> openvino.Node:
        """Build the normalised 1×1×1 convolution of a residual block's shortcut, where there is one.

        For a single channel x with mean m and variance v it is w (x - m) / √(w² v + ε): all filters share the
        statistics of the image.
        """
        if f"{name}.conv.weight" not in self._weights:
            return x
        if self._weights[f"{name}.conv.weight"].shape[1] > 1 or stride != ONE:
            return self._normalise(self._conv(x, name, stride))
        w = self._weights[f"{name}.conv.weight"].reshape(1, -1, 1, 1, 1)
        for _ in range(2):  # the first mean is rounded to the network's precision; the second removes the rest
            x = opset13.subtract(x, self._mean(x))
        variance = self._mean(opset13.multiply(x, x))
        spread = opset13.add(
            opset13.multiply(opset13.constant(w**2), variance), opset13.constant(np.float32(NORM_EPSILON))
        )
        return opset13.multiply(x, opset13.divide(opset13.constant(w), opset13.sqrt(spread)))

    def _conv(self, x: openvino.Node, name: str, stride: Triple) -> openvino.Node:
        kernel = self._weights[f"{name}.conv.weight"]
        if kernel.shape[1] <= FEW and stride == ONE:
            return self._conv_of_few(x, kernel)
        return self._convolve(x, kernel, stride)

    def _conv_of_few(self, x: openvino.Node, kernel: np.ndarray) -> openvino.Node:
        """Convolve few channels: neighbours along z become channels first, for the matrix units."""
        filters, channels, *plane, depth = kernel.shape
        shifts = np.zeros((channels, depth, channels, 1, 1, depth), np.float32)
        for channel, position in np.ndindex(channels, depth):
            shifts[channel, position, channel, 0, 0, position] = 1.0
        neighbours = self._convolve(x, shifts.reshape(channels * depth, channels, 1, 1, depth), ONE)
        flat = np.moveaxis(kernel, -1, 2).reshape(filters, channels * depth, *plane, 1)
        return self._convolve(neighbours, flat, ONE)

    def _convolve(
        self, x: openvino.Node, kernel: np.ndarray, stride: Triple, *, padding: Triple | None = None
    ) -> openvino.Node:
        around = padding or [side // 2 for side in kernel.shape[2:]]
        constant = opset13.constant(np.ascontiguousarray(kernel), shared_memory=True)
        return opset13.convolution(
            x, constant, strides=list(stride), pads_begin=list(around), pads_end=list(around), dilations=[1] * 3
        )

    def _normalise(self, x: openvino.Node) -> openvino.Node:
        if not self._exact:
            return opset13.mvn(x, self._axes, normalize_variance=True, eps=NORM_EPSILON, eps_mode="inside_sqrt")
        x = opset13.subtract(x, self._mean(x))
        variance = self._mean(opset13.multiply(x, x))
        spread = opset13.sqrt(opset13.add(variance, opset13.constant(np.float32(NORM_EPSILON))))
        return opset13.multiply(x, opset13.divide(opset13.constant(np.float32(1)), spread))

    def _mean(self, x: openvino.Node) -> openvino.Node:
        """Average over x, y, z. In the exact form each sum is as short as a side of the window.

        An average pool does what `reduce_mean` says: OpenVINO would fuse the latter, axis by axis, into one long sum.
        """
        if not self._exact:
            return opset13.reduce_mean(x, self._axes, keep_dims=True)
        sides = list(x.get_output_shape(0))[2:]
        for axis in (2, 1, 0):
            kernel = [side if number == axis else 1 for number, side in enumerate(sides)]
            x = opset13.avg_pool(x, kernel, [0] * 3, [0] * 3, kernel, exclude_pad=True)
        return x

    def _activate(self, x: openvino.Node) -> openvino.Node:
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
        the same result: a voxel y of the first spreads over y to y + s - 1, the second over k // 2 more on both sides.
    """
    stride, side = transposed.shape[2:], following.shape[2:]
    # As products of matrices [sx, sy, sz, C, M]; by PyTorch, which keeps to the threads it is given.
    spread = torch.from_numpy(np.ascontiguousarray(np.moveaxis(transposed, (0, 1), (3, 4))))
    merged = torch.zeros((*(s + k - 1 for s, k in zip(stride, side, strict=True)), len(transposed), len(following)))
    for offset in np.ndindex(*side):
        # A convolution looks ahead where a transposed one spreads: its kernel runs backwards.
        tap = following[(slice(None), slice(None), *(k - 1 - o for k, o in zip(side, offset, strict=True)))]
        x, y, z = (slice(o, o + s) for o, s in zip(offset, stride, strict=True))
        merged[x, y, z] += spread @ torch.from_numpy(np.ascontiguousarray(tap.T))
    return np.ascontiguousarray(np.moveaxis(merged.numpy(), (3, 4), (0, 1)))
