"""MONAI's own networks for tests of checkpoints."""

from __future__ import annotations

import torch
from monai.networks.nets import DynUNet as MonaiDynUNet

from swfastedit_core.model import NetworkConfig

NARROW = NetworkConfig("dynunet", (2, 3, 4, 5, 6, 7))


def monai_network(config=NARROW, seed=0, **changes):
    """Build MONAI's own network as the authors did; `changes` go to its constructor."""
    torch.manual_seed(seed)
    levels, strides = len(config.filters), [(1, 1, 1), *config.architecture.strides]
    options = {
        "kernel_size": [3] * levels, "strides": strides, "upsample_kernel_size": strides[1:],
        "filters": list(config.filters), "dropout": config.architecture.dropout or None, "norm_name": "instance",
        "res_block": True,
    }  # fmt: skip
    return MonaiDynUNet(3, config.in_channels, config.out_channels, **{**options, **changes}).eval()


def own_state(network):
    """Return the state dict without MONAI's second names and without heads: what a checkpoint keeps."""
    return {k: v for k, v in network.state_dict().items() if not k.startswith(("skip_layers.", "deep_supervision"))}
