from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from trial_examples import SOCKET


@pytest.fixture
def pet(tmp_path):
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    image.SetSpacing((2.0, 2.0, 3.0))
    image.SetDirection((0, -1, 0, -1, 0, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "pet.mha"))
    return tmp_path / "pet.mha"


@pytest.fixture
def output(tmp_path, pet):
    """Write a right mask."""
    mask = sitk.Cast(sitk.ReadImage(str(pet)) > 50, sitk.sitkUInt8)
    (tmp_path / "output" / SOCKET).mkdir(parents=True)
    sitk.WriteImage(mask, str(tmp_path / "output" / SOCKET / "mask.mha"))
    return tmp_path / "output"
