"""Instance normalisation in OpenVINO's operations, one implementation for each precision.

OpenVINO's own operation, MVN, adds the voxels of a channel one after the other in float32. A window of 128³ has two
million of them. Near the end the sum is a million times larger than each addend, and most digits of the addend are
lost. In constant air all addends are equal, so these errors have one sign and do not cancel. A normalised convolution
with constant air, whose standard deviation is 1, is then wrong by up to 0.2; PyTorch, which sums in double precision,
is wrong by 1e-5. The errors grow from layer to layer: a random network puts up to 0.8 % of the voxels into the other
class.

`ExactNorm` adds at most 64 voxels at a time and is as exact as PyTorch. In float32 it takes as long as MVN. In
bfloat16 a network of 31 million parameters would lose a tenth of its speed and gain nothing, because bfloat16 does not
have these digits. So `MvnNorm` is used there.
"""

from __future__ import annotations

import math

import numpy as np

from swfastedit_core.box import Triple
from swfastedit_core.engine.openvino_runtime import openvino, opset13
from swfastedit_core.model import NORM_EPSILON

SPATIAL = (2, 3, 4)  # axes of [N, C, X, Y, Z]
BLOCK = 4  # voxels along each axis that one step of a blockwise mean takes together
MOST_ADDENDS = BLOCK**3
FEW_VOXELS = 512  # MVN is exact enough up to this number of voxels; it is one operation instead of eleven


class MvnNorm:
    """OpenVINO's own mean and normalisation: fast, and exact enough for bfloat16."""

    def __init__(self) -> None:
        self._axes = opset13.constant(np.array(SPATIAL, np.int64))

    def mean(self, x: openvino.Node) -> openvino.Node:
        """Return the mean of each channel: [N, C, X, Y, Z] to [N, C, 1, 1, 1]."""
        return opset13.reduce_mean(x, self._axes, keep_dims=True)

    def __call__(self, x: openvino.Node) -> openvino.Node:
        """Give each channel the mean 0 and the variance 1: [N, C, X, Y, Z] to the same shape."""
        return opset13.mvn(x, self._axes, normalize_variance=True, eps=NORM_EPSILON, eps_mode="inside_sqrt")


class ExactNorm(MvnNorm):
    """Means of means of small blocks of voxels: as exact as float32 allows."""

    def mean(self, x: openvino.Node) -> openvino.Node:
        """Return the mean of each channel: [N, C, X, Y, Z] to [N, C, 1, 1, 1].

        A chain of `reduce_mean` over one axis each is not possible: OpenVINO merges it into MVN.
        """
        surplus = 1.0
        while math.prod(sides := _sides(x)) > MOST_ADDENDS:
            block = [min(side, BLOCK) for side in sides]
            padding = [-side % length for side, length in zip(sides, block, strict=True)]
            x = opset13.avg_pool(
                x,
                strides=block,
                pads_begin=[0, 0, 0],
                pads_end=padding,
                kernel_shape=block,
                exclude_pad=False,  # blocks at the end count the padding as zeros; `surplus` corrects this
            )
            surplus *= math.prod(_sides(x)) * math.prod(block) / math.prod(sides)
        mean = super().mean(x)
        return mean if surplus == 1 else opset13.multiply(mean, opset13.constant(np.float32(surplus)))

    def __call__(self, x: openvino.Node) -> openvino.Node:
        """Give each channel the mean 0 and the variance 1: [N, C, X, Y, Z] to the same shape."""
        if math.prod(_sides(x)) <= FEW_VOXELS:
            return super().__call__(x)
        mean = self.mean(x)
        difference = opset13.subtract(x, mean)
        variance = self.mean(opset13.multiply(difference, difference))
        deviation = opset13.sqrt(opset13.add(variance, opset13.constant(np.float32(NORM_EPSILON))))
        scale = opset13.divide(opset13.constant(np.float32(1)), deviation)
        # x · scale - mean · scale, not difference · scale: OpenVINO would keep the difference in memory.
        return opset13.subtract(opset13.multiply(x, scale), opset13.multiply(mean, scale))


def _sides(x: openvino.Node) -> Triple:
    x_side, y_side, z_side = (int(x.shape[axis]) for axis in SPATIAL)
    return x_side, y_side, z_side


NORMS = {"float32": ExactNorm, "bfloat16": MvnNorm}
