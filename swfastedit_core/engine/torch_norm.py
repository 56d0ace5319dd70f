"""Instance normalisation that keeps the channels-last layout.

`torch.nn.functional.instance_norm` makes its input contiguous. In a network in channels-last, this copies the feature
maps at each norm, and each convolution copies them back. Also, in the contiguous layout the statistics of a channel
are one block of a GPU's threads, so that most of the GPU is idle with 32 channels.

For a single window, instance norm is batch norm in training mode: the mean and the variance of each channel over all
voxels. PyTorch has batch norm kernels for channels-last with four axes, whose blocks share the voxels. They compute the
statistics of float16 in float32, which `torch.var_mean` rounds to float16.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from swfastedit_core.model import NORM_EPSILON


class ChannelsLastNorm(nn.Module):
    """Give each channel of each window the mean 0 and the variance 1; keep the memory layout.

    Input and output [N, C, X, Y, Z], of any layout and floating-point type.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise."""
        if len(x) == 1:
            return _normalise(x)
        out = torch.empty_like(x)
        for number in range(len(x)):
            out[number : number + 1] = _normalise(x[number : number + 1])
        return out


def _normalise(window: Tensor) -> Tensor:
    """Normalise [1, C, X, Y, Z]. X and Y are merged, without a copy: the kernels for channels-last take four axes."""
    merged = window.flatten(2, 3)
    return functional.batch_norm(merged, None, None, training=True, eps=NORM_EPSILON).view(window.shape)


def replace_norms(network: nn.Module, norm: Callable[[], nn.Module]) -> None:
    """Replace the instance norms of a network by other modules."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.InstanceNorm3d):
                setattr(module, name, norm())


def keep_channels_last(network: nn.Module) -> nn.Module:
    """Convert a network to channels-last, and replace its instance norms by `ChannelsLastNorm`."""
    replace_norms(network, ChannelsLastNorm)
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[no-any-return, call-overload] # no stub


def find_other_layouts(network: nn.Module, windows: Tensor) -> list[str]:
    """Run a network; return the names of its convolutions whose input is not in channels-last.

    Parameters
    ----------
    network
        From `keep_channels_last`.
    windows
        [N, C, X, Y, Z], of the network's device and type.
    """
    others: list[str] = []

    def check(name: str, inputs: tuple[Tensor, ...]) -> None:
        if not inputs[0].is_contiguous(memory_format=torch.channels_last_3d):
            others.append(name)

    convolutions = [
        (name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv3d | nn.ConvTranspose3d)
    ]
    handles = [
        module.register_forward_pre_hook(lambda _, inputs, name=name: check(name, inputs))
        for name, module in convolutions
    ]
    try:
        network(windows)
    finally:
        for handle in handles:
            handle.remove()
    return others
