from __future__ import annotations

import warnings
from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.transforms import ScaleIntensityRangePercentiles, Spacing

from swfastedit_core.box import Box
from swfastedit_core.intensity import (
    PercentileIntensity,
    RangeIntensity,
    percentiles,
    percentiles_of_sorted,
    scale_hu,
    scale_intensity,
)
from swfastedit_core.preprocess import Preprocessing, place, restore, to_network_grid, to_patient
from swfastedit_core.volume import Geometry, Volume

CPU = torch.device("cpu")
SIZE_XYZ, SPACING_MM, ORIGIN_MM = (5, 6, 7), (2.0, 2.5, 3.0), (10.0, -20.0, 30.0)


def axis_directions():
    """Yield all 48 matrices that map array axes onto patient axes."""
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        matrix = np.zeros((3, 3))
        for column, (row, sign) in enumerate(zip(order, signs, strict=True)):
            matrix[row, column] = sign
        yield tuple(matrix.ravel().tolist())


def sitk_grid(geometry):
    image = sitk.Image(geometry.size_xyz, sitk.sitkUInt8)
    image.SetSpacing(geometry.spacing_mm)
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(geometry.direction)
    return image


def file_points_ras(geometry):
    """Return the patient coordinates (R, A, S) of every voxel as SimpleITK gives them, [Z, Y, X, 3]."""
    image, (sx, sy, sz) = sitk_grid(geometry), geometry.size_xyz
    points = np.array(
        [image.TransformIndexToPhysicalPoint((x, y, z)) for z, y, x in product(range(sz), range(sy), range(sx))]
    )
    return points.reshape(sz, sy, sx, 3) * (-1, -1, 1)


def spacing_along_patient_axes(geometry):
    return tuple((np.abs(geometry.axes_lps) @ np.array(geometry.spacing_mm)).tolist())


@pytest.mark.parametrize("direction", list(axis_directions()))
def test_painted_voxel_comes_back_to_the_same_place_in_the_patient(direction):
    geometry = Geometry(SIZE_XYZ, SPACING_MM, ORIGIN_MM, direction)
    points = file_points_ras(geometry)
    spacing_mm = spacing_along_patient_axes(geometry)
    placement = place(geometry, spacing_mm)
    corner = points.reshape(-1, 3).min(axis=0)
    painted = torch.zeros(placement.network_shape)
    painted[1, 2, 3] = 1.0
    where = corner + np.array((1, 2, 3)) * spacing_mm
    found, box = restore(painted, Box.whole(placement.network_shape), placement)
    assert box == Box.whole(geometry.size_xyz)
    expected = (np.abs(points - where).max(axis=-1) < 1e-3).astype(np.float32)
    assert expected.sum() == 1
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("direction", list(axis_directions()))
def test_painted_block_comes_back_through_resampling(direction):
    geometry = Geometry((20, 22, 24), SPACING_MM, ORIGIN_MM, direction)
    spacing_mm = (1.7, 2.2, 4.1)
    points, placement = file_points_ras(geometry), place(geometry, spacing_mm)
    corner = points.reshape(-1, 3).min(axis=0)
    painted = torch.zeros(placement.network_shape)
    painted[5:15, 4:12, 3:9] = 1.0
    low, high = corner + np.array((5, 4, 3)) * spacing_mm, corner + np.array((14, 11, 8)) * spacing_mm
    found, _ = restore(painted, Box.whole(placement.network_shape), placement)
    inside = ((points >= low - 1e-3) & (points <= high + 1e-3)).all(axis=-1)
    outside = ((points <= low - np.array(spacing_mm) + 1e-3) | (points >= high + np.array(spacing_mm) - 1e-3)).any(-1)
    assert inside.sum() > 100
    np.testing.assert_allclose(found.numpy()[inside], 1.0, atol=1e-5)
    np.testing.assert_allclose(found.numpy()[outside], 0.0, atol=1e-5)


@pytest.mark.parametrize("direction", list(axis_directions()))
def test_voxels_go_to_ras_axes(direction):
    geometry = Geometry(SIZE_XYZ, SPACING_MM, ORIGIN_MM, direction)
    points = file_points_ras(geometry)
    placement = place(geometry, spacing_along_patient_axes(geometry))
    for axis in range(3):  # an image of each patient coordinate must rise along that axis of the tensor only
        tensor = to_network_grid(Volume(points[..., axis].astype(np.float32), geometry), placement, CPU)
        steps = [torch.diff(tensor, dim=other) for other in range(3)]
        mm = spacing_along_patient_axes(geometry)[axis]
        for other in range(3):
            expected = mm if other == axis else 0.0
            np.testing.assert_allclose(steps[other].numpy(), expected, atol=1e-3)


def test_resampling_is_linear_between_voxel_centres():
    line = np.array([0.0, 10.0, 20.0, 50.0], np.float32).reshape(1, 1, 4)
    geometry = Geometry((4, 1, 1), (2.0, 1.0, 1.0), direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1))  # RAS: nothing is flipped
    placement = place(geometry, (1.0, 1.0, 1.0))
    assert placement.network_shape == (7, 1, 1)
    tensor = to_network_grid(Volume(line, geometry), placement, CPU)
    assert tensor.flatten().tolist() == [0.0, 5.0, 10.0, 15.0, 20.0, 35.0, 50.0]
    back, _ = restore(tensor, Box.whole((7, 1, 1)), placement)
    assert back.flatten().tolist() == [0.0, 10.0, 20.0, 50.0]


def test_same_spacing_is_not_resampled():
    geometry = Geometry((4, 5, 6), (2.0364, 2.0364, 3.0))
    placement = place(geometry, (2.03642011, 2.03642011, 3.0))
    assert placement.step == (1.0, 1.0, 1.0)
    array = np.random.default_rng(0).random((6, 5, 4), np.float32)
    tensor = to_network_grid(Volume(array, geometry), placement, CPU)
    np.testing.assert_array_equal(tensor.numpy(), array.transpose(2, 1, 0)[::-1, ::-1])


@pytest.mark.parametrize("spacing_mm", [(2.0, 2.5, 3.0), (1.3, 4.0, 2.2)])
def test_part_of_the_network_grid_restores_to_that_part_of_the_file(spacing_mm):
    geometry = Geometry((30, 26, 22), SPACING_MM, ORIGIN_MM, (0, 1, 0, 0, 0, -1, -1, 0, 0))
    placement = place(geometry, spacing_mm)
    values = torch.rand(placement.network_shape, generator=torch.Generator().manual_seed(0))
    whole, _ = restore(values, Box.whole(placement.network_shape), placement)
    box = Box((4, 3, 2), tuple(side - 5 for side in placement.network_shape))
    part, file_box = restore(values[box.slices], box, placement)
    x, y, z = file_box.slices
    assert part.numel() > 1000
    torch.testing.assert_close(part, whole[z, y, x], atol=1e-6, rtol=0)


def test_tilted_axes_go_to_the_closest_patient_axes():
    angle = np.deg2rad(35)
    c, s = np.cos(angle), np.sin(angle)
    geometry = Geometry((4, 5, 6), (1, 1, 1), direction=(1, 0, 0, 0, c, -s, 0, s, c))
    placement = place(geometry, (1, 1, 1))
    assert placement.file_axis == (0, 1, 2)
    assert placement.flipped == (True, True, False)


def test_percentiles_are_exact():
    values = torch.arange(1001, dtype=torch.float32).reshape(7, 11, 13)
    assert percentiles(values, (0.05, 99.95)) == pytest.approx((0.5, 999.5))


@pytest.mark.parametrize("q", [(0.05, 99.95), (0.0, 100.0), (12.3, 50.0)])
@pytest.mark.parametrize("count", [1, 2, 1000, 4097])
def test_percentiles_of_sorted_values_are_numpys(count, q):
    values = torch.randn(count, generator=torch.Generator().manual_seed(count)) * 7
    expected = np.percentile(values.numpy(), q)
    assert percentiles_of_sorted(values.sort().values, q) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_percentile_scaling_maps_and_clips():
    values = torch.arange(1001, dtype=torch.float32).reshape(7, 11, 13)
    scaled = scale_intensity(values, PercentileIntensity(10.0, 90.0)).flatten()
    assert scaled[100].item() == 0.0
    assert scaled[500].item() == pytest.approx(0.5)
    assert scaled[900].item() == pytest.approx(1.0)
    assert scaled[0].item() == 0.0
    assert scaled[1000].item() == 1.0


def test_range_scaling_does_not_depend_on_the_image():
    scaled = scale_intensity(torch.tensor([-1.0, 0.0, 5.0, 20.0, 90.0]), RangeIntensity(0.0, 20.0))
    assert scaled.tolist() == [0.0, 0.0, 0.25, 1.0, 1.0]


def test_hu_are_mapped_and_clipped():
    hu = torch.tensor([-1024.0, -1000.0, -100.0, 0.0, 1000.0, 3071.0])
    assert scale_hu(hu, Preprocessing().ct_hu).tolist() == pytest.approx([0.0, 0.0, 0.45, 0.5, 1.0, 1.0])
    assert scale_hu(hu, (-160.0, 240.0)).tolist() == pytest.approx([0.0, 0.0, 0.15, 0.4, 1.0, 1.0])
    assert hu[0] == -1024.0


def test_empty_image_stays_empty():
    assert scale_intensity(torch.zeros(3, 3, 3), PercentileIntensity()).max().item() == 0.0


@pytest.mark.parametrize("air", [0.0, 0.5])
def test_equal_percentiles_shift_only_as_in_monai(air):
    """Nearly all is air, and one voxel of 4,000 is hot."""
    suv = torch.full((1, 20, 20, 10), air)
    suv[0, 3, 3, 3] = 7.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = ScaleIntensityRangePercentiles(0.05, 99.95, 0.0, 1.0, clip=True)(suv)
    found = scale_intensity(suv, PercentileIntensity())
    assert found.max().item() == 7.0 - air
    np.testing.assert_array_equal(found.numpy(), np.asarray(expected))


@pytest.mark.parametrize(
    ("spacing_mm", "resampled"),
    [
        ((2.0376, 2.0376, 3.0), False),  # 0.0012 mm, but a factor of 1.0006
        ((2.0376, 2.0376, 3.0031), True),  # a factor of 1.00103
        ((2.0374, 2.0376, 3.0), False),
        ((2.0376, 2.0376, 3.0005), False),
        ((2.04, 2.0364, 3.0), True),
    ],
)
def test_grid_is_left_alone_where_monai_leaves_it(spacing_mm, resampled):
    target = (2.03642011, 2.03642011, 3.0)
    placement = place(Geometry((30, 28, 26), spacing_mm), target)
    assert (placement.step != (1.0, 1.0, 1.0)) == resampled
    affine = torch.diag(torch.tensor([*spacing_mm, 1.0], dtype=torch.float64))
    image = MetaTensor(torch.rand(1, 30, 28, 26), affine=affine)
    spaced = Spacing(pixdim=target, mode="bilinear")(image)
    assert (spaced.shape != image.shape or not torch.equal(spaced.as_tensor(), image.as_tensor())) == resampled


def test_position_on_the_networks_grid_has_the_patients_coordinates():
    for direction in axis_directions():
        geometry = Geometry(SIZE_XYZ, SPACING_MM, ORIGIN_MM, direction)
        placement = place(geometry, (1.0, 1.25, 1.5))
        low = to_patient(np.zeros((1, 3)), placement, geometry)[0]
        np.testing.assert_allclose(low * (-1, -1, 1), file_points_ras(geometry).reshape(-1, 3).min(axis=0))
        along = to_patient(np.array([[2.0, 3.0, 4.0]]), placement, geometry)[0]
        np.testing.assert_allclose((along - low) * (-1, -1, 1), (2.0, 3.75, 6.0))


def test_scaling_leaves_its_input_alone():
    values = torch.tensor([0.0, 5.0])
    scale_intensity(values, RangeIntensity(0.0, 10.0))
    assert values.tolist() == [0.0, 5.0]
