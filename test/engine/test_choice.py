"""The choice of the device, with a PyTorch that pretends to have GPUs."""

from __future__ import annotations

import logging

import pytest
import torch

from swfastedit_core.engine import resolve_device
from swfastedit_core.errors import UserError

NO_KERNEL = (
    "CUDA error: no kernel image is available for execution on the device\n"
    "Search for `cudaErrorNoKernelImageForDevice' in the documentation."
)


@pytest.fixture
def gpus(monkeypatch):
    """Pretend to have GPUs: for each one the error of its first kernel, or None."""

    def pretend(*faults):
        def ones(count, device):
            if faults[device.index]:
                raise torch.AcceleratorError(faults[device.index])
            return zeros(count)

        zeros = torch.zeros
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(faults))
        monkeypatch.setattr(torch, "ones", ones)

    return pretend


def test_first_gpu_that_works_is_chosen(gpus, caplog):
    gpus(NO_KERNEL, None)
    with caplog.at_level(logging.WARNING):
        assert resolve_device("auto") == torch.device("cuda:1")
    assert caplog.messages == ["the GPU 0 is not used: no kernel image is available for execution on the device"]


def test_cpu_is_chosen_if_no_gpu_works(gpus):
    gpus(NO_KERNEL)
    assert resolve_device("auto") == torch.device("cpu")


def test_gpu_that_the_user_names_and_does_not_work_is_refused(gpus):
    gpus(NO_KERNEL)
    with pytest.raises(UserError, match=r"device 'cuda' does not work \(no kernel image .* device\); use --device cpu"):
        resolve_device("cuda")


def test_gpu_that_the_user_names_is_chosen(gpus):
    gpus(None, None)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    assert resolve_device("cuda") == torch.device("cuda:0")
