"""Phantoms: organs have their uptake, on any grid."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from swfastedit_core.phantom import Patient, Scanner, field_of_view, make_phantom, sample_patient
from swfastedit_core.phantom.scanner import activity_map, blur
from swfastedit_core.phantom.shapes import rotation
from swfastedit_core.volume import Geometry

QUIET = Scanner(fwhm_mm=5.0, noise=0.0)


@cache
def healthy_patient(seed: int) -> Patient:
    return sample_patient(seed, lesions=0)


def suv_at(seed: int, place: tuple[float, float, float]) -> float:
    """Mean SUV of 12 mm around a point of the reference body, without lesions and noise."""
    patient = healthy_patient(seed)
    x, y, z = patient.habitus.to_patient(*place)
    grid = Geometry((17, 17, 17), (4.0, 4.0, 4.0), (x - 32, y - 32, z - 32))
    pet = blur(activity_map(patient.healthy, grid), fwhm_mm=5.0, spacing_mm=grid.spacing_mm)
    return float(pet[7:10, 7:10, 7:10].mean())


@pytest.mark.parametrize(
    ("place", "low", "high"),
    [
        ((-74, -2, -515), 1.5, 3.3),  # liver
        ((-74, 0, -375), 0.2, 0.8),  # right lung
        ((0, -20, -832), 4.5, 62.0),  # bladder
        ((45, 2, -50), 3.0, 16.0),  # brain
        ((84, 8, -1040), 0.3, 1.2),  # thigh
        ((400, 0, -600), 0.0, 1e-6),  # air
    ],
)
def test_organs_have_their_uptake(place: tuple[float, float, float], low: float, high: float) -> None:
    values = [suv_at(seed, place) for seed in range(4)]
    assert low <= min(values)
    assert max(values) <= high


def test_healthy_body_does_not_depend_on_the_lesions() -> None:
    assert sample_patient(1, lesions=0).healthy == sample_patient(1, lesions=6).healthy
    assert sample_patient(1).habitus != sample_patient(2).habitus


@pytest.mark.parametrize(("seed", "up"), [(3, True), (2, False)])
def test_arms_are_beside_the_head_or_beside_the_trunk(seed: int, up: bool) -> None:
    patient = sample_patient(seed)
    assert patient.habitus.arms_up == up
    grid = Geometry((140, 60, 120), (6.0, 6.0, 6.0), (-417.0, -177.0, -600.0))
    suv = make_phantom(seed, geometry=grid, lesions=0, scanner=QUIET).pet.array_zyx
    x_mm = np.abs(-417.0 + 6.0 * np.arange(140))
    beside_the_head = suv[100:, :, x_mm > 150]  # from the vertex upwards, where only hands can be
    assert (beside_the_head > 0.2).any() == up


def test_no_lesions_no_label_however_hot_the_bladder() -> None:
    phantom = make_phantom(5, geometry=field_of_view(5, spacing_mm=(8, 8, 8)), lesions=0)
    assert phantom.lesions == ()
    assert int(phantom.label.array_zyx.max()) == 0
    assert float(phantom.pet.array_zyx.max()) > 4


def test_left_handed_grid_holds_the_same_voxels() -> None:
    straight = Geometry((60, 40, 50), (5.0, 6.0, 4.0), (-150.0, -120.0, -700.0))
    # Array axes: x runs along S, y along L, z against P. Determinant -1.
    direction = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0)
    left_handed = Geometry((50, 60, 40), (4.0, 5.0, 6.0), (-150.0, -120.0 + 39 * 6, -700.0), direction)
    first = make_phantom(4, geometry=straight, lesions=30, scanner=QUIET)
    second = make_phantom(4, geometry=left_handed, lesions=30, scanner=QUIET)
    assert first.label.array_zyx.any()
    np.testing.assert_array_equal(second.label.array_zyx[::-1].transpose(2, 0, 1), first.label.array_zyx)
    np.testing.assert_allclose(second.pet.array_zyx[::-1].transpose(2, 0, 1), first.pet.array_zyx, atol=2e-3, rtol=1e-3)


def test_oblique_grid_samples_the_same_patient() -> None:
    straight = Geometry((48, 40, 40), (4.0, 4.0, 4.0), (-94.0, -78.0, -680.0))
    axes = np.reshape(rotation((20.0, -15.0, 35.0)), (3, 3))
    middle = np.array([0.0, 0.0, -602.0])
    origin = middle - axes @ np.array([68 * 2.0, 68 * 2.0, 56 * 2.5])
    oblique = Geometry((137, 137, 113), (2.0, 2.0, 2.5), tuple(origin.tolist()), tuple(axes.ravel().tolist()))
    scanner = Scanner(fwhm_mm=9.0, noise=0.0)
    first = make_phantom(4, geometry=straight, lesions=4, scanner=scanner).pet
    second = make_phantom(4, geometry=oblique, lesions=4, scanner=scanner).pet
    x, y, z = (
        np.arange(8, size - 8) * 4.0 + start for size, start in zip((48, 40, 40), (-94.0, -78.0, -680.0), strict=True)
    )
    grid = np.stack(np.meshgrid(z, y, x, indexing="ij")[::-1]).reshape(3, -1)
    index_xyz = (axes.T @ (grid - origin[:, None])) / np.array([[2.0], [2.0], [2.5]])
    inside = ((index_xyz >= 5) & (index_xyz <= np.array([[131], [131], [107]]))).all(axis=0)
    assert inside.mean() > 0.9
    sampled = ndimage.map_coordinates(second.array_zyx, index_xyz[::-1, inside], order=1)
    expected = first.array_zyx[8:-8, 8:-8, 8:-8].ravel()[inside]
    assert np.corrcoef(sampled, expected)[0, 1] > 0.995
    assert np.abs(sampled - expected).mean() < 0.03 * expected.mean()


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="31 lesions, expected 0 to 30"):
        make_phantom(0, lesions=31)
    with pytest.raises(ValueError, match="seed -1"):
        make_phantom(-1)
