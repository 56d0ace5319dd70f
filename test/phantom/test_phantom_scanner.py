"""Painting, blur and noise."""

from __future__ import annotations

import numpy as np
import pytest

from swfastedit_core.phantom import Scanner, sample_patient
from swfastedit_core.phantom.scanner import activity_map, add_noise, blur, rasterize
from swfastedit_core.phantom.shapes import Ellipsoid
from swfastedit_core.volume import Geometry


def test_point_source_is_blurred_to_the_width_in_millimetres() -> None:
    point = np.zeros((41, 41, 41), np.float32)
    point[20, 20, 20] = 100.0
    image = blur(point, fwhm_mm=8.0, spacing_mm=(2.0, 2.5, 3.0))
    assert float(image.sum()) == pytest.approx(100.0, rel=1e-4)
    for axis, step_mm in ((0, 3.0), (1, 2.5), (2, 2.0)):
        profile = image.sum(axis=tuple({0, 1, 2} - {axis}))
        position_mm = (np.arange(41) - 20) * step_mm
        sigma_mm = np.sqrt((profile * position_mm**2).sum() / profile.sum())
        assert 2.3548 * sigma_mm == pytest.approx(8.0, rel=0.02)


def test_relative_noise_grows_where_counts_are_low() -> None:
    geometry = Geometry((60, 60, 81), (3.0, 3.0, 3.0))
    truth = np.full(geometry.shape_zyx, 8.0, np.float32)
    truth[:, :, 30:] = 2.0
    scanner = Scanner(fwhm_mm=6.0, noise=0.1, noise_fwhm_mm=6.0, edge_mm=60.0)
    pet = add_noise(truth, geometry, scanner=scanner, rng=np.random.Generator(np.random.PCG64(1)))
    hot, cold = pet[22:60, :, :30], pet[22:60, :, 30:]
    assert hot.std() == pytest.approx(0.1 * np.sqrt(8), rel=0.05)  # full sensitivity
    assert cold.std() == pytest.approx(0.1 * np.sqrt(2), rel=0.05)
    assert (cold.std() / cold.mean()) ** 2 == pytest.approx(4 * (hot.std() / hot.mean()) ** 2, rel=0.15)
    assert pet[0, :, 30:].std() == pytest.approx(2 * cold.std(), rel=0.15)  # a quarter of the counts
    assert pet.mean() == pytest.approx(truth.mean(), rel=0.01)
    assert pet.min() >= 0


def test_solid_between_voxel_centres_owns_the_nearest_one() -> None:
    tiny = Ellipsoid((5.6, 5.3, 4.6), (0.2, 0.2, 0.2))
    block, mask = rasterize(tiny, Geometry((4, 4, 4), (4.0, 4.0, 4.0))) or pytest.fail("outside")
    assert int(mask.sum()) == 1
    (k, j, i), *_ = np.argwhere(mask)
    assert (block[0].start + k, block[1].start + j, block[2].start + i) == (1, 1, 1)
    assert rasterize(Ellipsoid((50.0, 5.0, 5.0), (3.0, 3.0, 3.0)), Geometry((4, 4, 4), (4.0, 4.0, 4.0))) is None


def test_painted_activity_is_that_of_the_region() -> None:
    patient = sample_patient(9, lesions=0)
    bladder = next(region for region in patient.healthy if region.name == "bladder")
    low, high = bladder.parts[0].bounds.low_mm, bladder.parts[0].bounds.high_mm
    x, y, z = ((a + b) / 2 for a, b in zip(low, high, strict=True))
    activity = activity_map(patient.healthy, Geometry((1, 1, 1), (2.0, 2.0, 2.0), (x, y, z)))
    assert float(activity[0, 0, 0]) == pytest.approx(bladder.suv, rel=1e-5)
