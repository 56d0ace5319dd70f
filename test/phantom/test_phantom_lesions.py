"""Lesions: number, volume, shape, contrast; the label marks them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import ndimage

from swfastedit_core.phantom import Scanner, field_of_view, make_phantom, sample_patient
from swfastedit_core.phantom.lesion_shapes import recovery
from swfastedit_core.phantom.lesions import sample_lesion_count
from swfastedit_core.phantom.scanner import activity_map, blur, rasterize
from swfastedit_core.phantom.shapes import Ellipsoid, Shape
from swfastedit_core.volume import Geometry

QUIET = Scanner(fwhm_mm=5.0, noise=0.0)


def grid_around(shapes: Sequence[Shape], *, spacing_mm: float, margin_mm: float = 6.0) -> Geometry:
    """Return the smallest grid of cubic voxels that holds solids with a margin."""
    low = np.min([shape.bounds.low_mm for shape in shapes], axis=0) - margin_mm
    high = np.max([shape.bounds.high_mm for shape in shapes], axis=0) + margin_mm
    x, y, z = (np.ceil((high - low) / spacing_mm).astype(int) + 1).tolist()
    return Geometry((x, y, z), (spacing_mm,) * 3, tuple(low.tolist()))


def test_label_has_the_volume_of_the_lesions() -> None:
    for seed in (0, 1):
        grid = grid_around([lesion.shape for lesion in sample_patient(seed, lesions=8).lesions], spacing_mm=3.0)
        phantom = make_phantom(seed, geometry=grid, lesions=8)
        assert len(phantom.lesions) == 8
        labelled_ml = float(phantom.label.array_zyx.sum()) * phantom.label.geometry.voxel_ml
        assert labelled_ml == pytest.approx(sum(lesion.volume_ml for lesion in phantom.lesions), rel=0.05)


def test_thirty_lesions_lie_apart_and_each_owns_voxels_of_a_coarse_grid() -> None:
    phantom = make_phantom(11, geometry=field_of_view(11, spacing_mm=(8, 8, 8)), lesions=30)
    assert len(phantom.lesions) == 30
    masks = [rasterize(lesion.shape, phantom.label.geometry) for lesion in phantom.lesions]
    assert all(mask is not None and mask[1].any() for mask in masks)
    assert int(phantom.label.array_zyx.sum()) == sum(int(mask[1].sum()) for mask in masks if mask)
    assert min(lesion.volume_ml for lesion in phantom.lesions) >= 0.3


def lesions_in_voxels(seeds: range, at_least: int) -> list[tuple[np.ndarray, float]]:
    """Masks of lesions in 4 mm voxels, and the highest healthy SUV in the layer of voxels around each."""
    masks_and_suv = []
    for seed in seeds:
        patient = sample_patient(seed)
        for lesion in patient.lesions:
            grid = grid_around([lesion.shape], spacing_mm=4.0, margin_mm=32.0)
            block, mask = rasterize(lesion.shape, grid) or pytest.fail("outside")
            if mask.sum() >= at_least:
                healthy = blur(activity_map(patient.healthy, grid), fwhm_mm=5.0, spacing_mm=grid.spacing_mm)
                whole = np.zeros(grid.shape_zyx, bool)
                whole[block] = mask
                shell = ndimage.binary_dilation(whole) & ~whole
                masks_and_suv.append((whole, float(healthy[shell].max())))
    return masks_and_suv


def likeness_to_an_ellipsoid(mask: np.ndarray) -> float:
    """Dice of a mask with the solid ellipsoid of the same second moments (|x|² ≤ 5 in units of their roots)."""
    places = np.argwhere(mask).astype(float)
    centre, spread = places.mean(axis=0), np.cov(places.T) + np.eye(3) / 12
    offset = np.stack(np.indices(mask.shape), axis=-1) - centre
    ellipsoid = np.einsum("...i,ij,...j->...", offset, np.linalg.inv(spread), offset) <= 5
    return float(2 * (mask & ellipsoid).sum() / (mask.sum() + ellipsoid.sum()))


def test_lesions_are_of_many_shapes_and_some_touch_physiological_uptake() -> None:
    z, y, x = np.indices((40, 40, 40)) - 20
    ball = (x / 15) ** 2 + (y / 9) ** 2 + (z / 12) ** 2 <= 1
    assert likeness_to_an_ellipsoid(ball) > 0.98
    lesions = lesions_in_voxels(range(6), at_least=50)
    likeness = sorted(likeness_to_an_ellipsoid(mask) for mask, _ in lesions)
    assert len(likeness) > 10
    assert likeness[1] < 0.85
    assert likeness[-2] > 0.9
    assert any(around > 4.0 for _, around in lesions)
    assert any(around < 1.5 for _, around in lesions)


def test_lesions_stand_out_from_their_surroundings() -> None:
    phantom = make_phantom(2, geometry=field_of_view(2, spacing_mm=(4, 4, 4)), lesions=12, scanner=QUIET)
    labelled = phantom.label.array_zyx.astype(bool)
    for lesion in phantom.lesions:
        assert lesion.suv > 1.5 * lesion.suv_around
        block, mask = rasterize(lesion.shape, phantom.label.geometry) or pytest.fail("outside")
        wide = tuple(slice(max(s.start - 4, 0), s.stop + 4) for s in block)
        own = np.zeros(labelled.shape, bool)
        own[block] = mask
        ring = ndimage.binary_dilation(own[wide], iterations=4) & ~ndimage.binary_dilation(labelled[wide])
        assert phantom.pet.array_zyx[own].max() > 1.4 * np.median(phantom.pet.array_zyx[wide][ring])


def test_one_patient_in_five_is_free_of_lesions_and_none_has_more_than_thirty() -> None:
    rng = np.random.Generator(np.random.PCG64(0))
    counts = np.array([sample_lesion_count(rng) for _ in range(4000)])
    assert 0.20 < np.mean(counts == 0) < 0.24
    assert counts.max() == 30
    assert np.median(counts[counts > 0]) == 3


def test_recovery_is_the_peak_of_a_blurred_sphere() -> None:
    sphere = Ellipsoid((0.0, 0.0, 0.0), (6.0, 6.0, 6.0))
    geometry = Geometry((61, 61, 61), (1.0, 1.0, 1.0), (-30.0, -30.0, -30.0))
    block, mask = rasterize(sphere, geometry) or pytest.fail("outside")
    ball = np.zeros(geometry.shape_zyx, np.float32)
    ball[block] = mask
    assert float(ball.sum()) == pytest.approx(4 / 3 * np.pi * 216, rel=0.03)
    peak = float(blur(ball, fwhm_mm=8.0, spacing_mm=(1.0, 1.0, 1.0)).max())
    assert recovery(6.0, fwhm_mm=8.0) == pytest.approx(peak, abs=0.02)
    assert recovery(60.0, fwhm_mm=8.0) == pytest.approx(1.0, abs=1e-6)
