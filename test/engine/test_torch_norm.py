"""The norm of the GPU engine, run on the CPU."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from swfastedit_core.checkpoint import read_checkpoint
from swfastedit_core.engine.torch_engine import difference_network
from swfastedit_core.engine.torch_norm import ChannelsLastNorm, find_other_layouts, keep_channels_last
from swfastedit_core.model import NetworkConfig, build_network

CHANNELS_LAST = torch.channels_last_3d


@pytest.mark.parametrize("windows", [1, 3])
@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_each_channel_of_each_window_gets_mean_0_and_variance_1(windows, dtype, rounding):
    scale = torch.tensor([1.0, 10.0, 0.1, 3.0]).reshape(1, 4, 1, 1, 1)
    x = torch.randn((windows, 4, 6, 8, 10), generator=torch.Generator().manual_seed(0)) * scale + 2 * scale
    x = x.to(dtype).contiguous(memory_format=CHANNELS_LAST)
    found = ChannelsLastNorm()(x)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=CHANNELS_LAST)
    torch.testing.assert_close(found.double(), functional.instance_norm(x.double()), atol=rounding, rtol=rounding)


def test_norm_of_torch_undoes_the_layout():
    """When this fails, `ChannelsLastNorm` may be needless."""
    x = torch.randn((1, 4, 6, 8, 10)).contiguous(memory_format=CHANNELS_LAST)
    assert not functional.instance_norm(x).is_contiguous(memory_format=CHANNELS_LAST)


@pytest.mark.parametrize("name", ["dynunet", "smalldynunet"])
def test_every_convolution_of_a_converted_network_reads_channels_last(name):
    """With two windows: PyTorch's convolution on the CPU returns the default layout for one. bench/gpu.py has both."""
    filters = (8, 8, 16) if name == "smalldynunet" else (8, 8, 16, 16, 16, 16)
    # `contiguous` would keep the strides of one channel in the default layout, and the network would follow them.
    x = torch.empty((2, 1, 32, 32, 32), memory_format=CHANNELS_LAST).normal_()
    plain = build_network(NetworkConfig(name, filters)).to(memory_format=CHANNELS_LAST)
    with torch.inference_mode():
        assert find_other_layouts(plain, x)
        assert find_other_layouts(keep_channels_last(plain), x) == []


def test_converted_network_computes_the_same(narrow_checkpoint):
    checkpoint = read_checkpoint(narrow_checkpoint)
    window = torch.randn((2, 1, 32, 32, 32), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = difference_network(checkpoint.network())(window)
        network = keep_channels_last(difference_network(checkpoint.network()))
        found = network(window.contiguous(memory_format=CHANNELS_LAST))
    torch.testing.assert_close(found, expected, atol=1e-3 * expected.std().item(), rtol=1e-3)
