"""The networks in OpenVINO's operations, straight from the weights.

Tracing the PyTorch module instead takes seconds and gigabytes; this takes milliseconds, and constants share the memory
of the weights. The tests compare both.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from swfastedit_core.box import Triple
from swfastedit_core.engine.runtime import openvino, opset13
from swfastedit_core.model import LEAK, NORM_EPSILON, NetworkConfig

ONE: Triple = (1, 1, 1)


def dynunet_graph(config: NetworkConfig, weights: Mapping[str, np.ndarray], *, window: Triple) -> openvino.Model:
    """Build the network for one window, with its two output channels folded into one.

    Parameters
    ----------
    config
        Which network.
    weights
        Its state dict, float32; kept by the model without a copy.
    window
        Sides of the window in voxels.

    Returns
    -------
    openvino.Model
        float32 [1, C, X, Y, Z] to float32 [1, 1, X, Y, Z], tumour logit minus background logit.
    """
    strides = config.architecture.strides
    draw = _Draw(weights)
    image = opset13.parameter([1, config.in_channels, *window], np.float32, name="window")
    x = draw.residual(image, "input_block", ONE)
    skips = []
    for level, stride in enumerate(strides[:-1]):
        skips.append(x)
        x = draw.residual(x, f"downsamples.{level}", stride)
    skips.append(x)
    x = draw.residual(x, "bottleneck", strides[-1])
    for number, stride in enumerate(reversed(strides)):
        x = draw.up(x, skips.pop(), f"upsamples.{number}", stride)
    return openvino.Model([draw.output(x)], [image], config.name)


class _Draw:
    """Draws the blocks of `model`, under the same names."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self._weights = weights
        self._axes = opset13.constant(np.array([2, 3, 4], np.int64))
        self._leak = opset13.constant(np.array([LEAK], np.float32))

    def residual(self, x: openvino.Node, name: str, stride: Triple) -> openvino.Node:
        y = self._activated(self._normed(self._conv(x, f"{name}.conv1", stride)))
        y = self._normed(self._conv(y, f"{name}.conv2", ONE))
        if f"{name}.conv3.conv.weight" in self._weights:
            x = self._normed(self._conv(x, f"{name}.conv3", stride))
        return self._activated(opset13.add(y, x))

    def up(self, x: openvino.Node, skip: openvino.Node, name: str, stride: Triple) -> openvino.Node:
        kernel = opset13.constant(self._weights[f"{name}.transp_conv.conv.weight"], shared_memory=True)
        x = opset13.convolution_backprop_data(
            x, kernel, strides=list(stride), pads_begin=[0] * 3, pads_end=[0] * 3, dilations=[1] * 3
        )
        x = opset13.concat([x, skip], axis=1)
        for conv in ("conv1", "conv2"):
            x = self._activated(self._normed(self._conv(x, f"{name}.conv_block.{conv}", ONE)))
        return x

    def output(self, x: openvino.Node) -> openvino.Node:
        kernel, bias = (self._weights[f"output_block.conv.conv.{what}"] for what in ("weight", "bias"))
        difference = (bias[1:] - bias[:1]).reshape(1, 1, 1, 1, 1)
        return opset13.add(self._convolved(x, kernel[1:] - kernel[:1], ONE), opset13.constant(difference))

    def _conv(self, x: openvino.Node, name: str, stride: Triple) -> openvino.Node:
        return self._convolved(x, self._weights[f"{name}.conv.weight"], stride)

    def _convolved(self, x: openvino.Node, kernel: np.ndarray, stride: Triple) -> openvino.Node:
        padding = [side // 2 for side in kernel.shape[2:]]
        constant = opset13.constant(np.ascontiguousarray(kernel), shared_memory=True)
        return opset13.convolution(
            x, constant, strides=list(stride), pads_begin=padding, pads_end=padding, dilations=[1] * 3
        )

    def _normed(self, x: openvino.Node) -> openvino.Node:
        return opset13.mvn(x, self._axes, normalize_variance=True, eps=NORM_EPSILON, eps_mode="inside_sqrt")

    def _activated(self, x: openvino.Node) -> openvino.Node:
        return opset13.prelu(x, self._leak)
