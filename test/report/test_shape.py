import math

import numpy as np
import pytest
from ibsi_phantom import MASK_ZYX, MAXIMUM_DIAMETER_MM, MESH_VOLUME_MM3, SPACING_ZYX_MM, SPHERICITY, SURFACE_MM2

from swfastedit_core.report.figures.shape import measure_shape


def test_shape_of_the_ibsi_phantom_is_the_published_one() -> None:
    shape = measure_shape(MASK_ZYX, spacing_zyx_mm=SPACING_ZYX_MM)

    for value, (published, tolerance) in (
        (shape.surface_mm2, SURFACE_MM2),
        (shape.volume_mm3, MESH_VOLUME_MM3),
        (shape.sphericity, SPHERICITY),
        (shape.longest_diameter_mm, MAXIMUM_DIAMETER_MM),
    ):
        assert value == pytest.approx(published, abs=tolerance)


def test_mesh_of_one_voxel_is_an_octahedron() -> None:
    shape = measure_shape(np.ones((1, 1, 1), bool), spacing_zyx_mm=(2.0, 2.0, 2.0))

    assert shape.surface_mm2 == pytest.approx(8 * math.sqrt(3) / 2)  # eight triangles with sides of √2 mm
    assert shape.volume_mm3 == pytest.approx(4 / 3)
    assert shape.sphericity == pytest.approx((36 * math.pi * 16 / 9) ** (1 / 3) / (4 * math.sqrt(3)))
    assert shape.longest_diameter_mm == pytest.approx(2.0)
    assert measure_shape(np.ones((1, 1, 1), bool), spacing_zyx_mm=(7.0, 2.0, 3.0)).longest_diameter_mm == 7.0


def test_flat_lesion_has_a_diameter() -> None:
    row, sheet = np.ones((1, 1, 3), bool), np.ones((1, 30, 40), bool)

    assert measure_shape(row, spacing_zyx_mm=(3.0, 2.0, 4.0)).longest_diameter_mm == pytest.approx(12.0)
    # From the middle of an outer edge to that of the opposite one, between corners 39 by 30 or 40 by 29 voxels apart.
    assert measure_shape(sheet, spacing_zyx_mm=(3.0, 1.0, 1.0)).longest_diameter_mm == pytest.approx(math.hypot(40, 29))


def test_figures_do_not_change_when_the_lesion_is_turned_or_flipped() -> None:
    mask = np.random.default_rng(3).random((5, 6, 7)) < 0.5
    shape = measure_shape(mask, spacing_zyx_mm=(3.0, 2.0, 4.0))
    for turned, spacing in ((mask[::-1, :, ::-1], (3.0, 2.0, 4.0)), (mask.transpose(2, 0, 1), (4.0, 3.0, 2.0))):
        other = measure_shape(turned, spacing_zyx_mm=spacing)
        # Polygons of four and more corners are not flat, and the triangles in them depend on the direction.
        assert other.surface_mm2 == pytest.approx(shape.surface_mm2, rel=5e-3)
        assert other.volume_mm3 == pytest.approx(shape.volume_mm3, rel=5e-3)
        assert other.longest_diameter_mm == pytest.approx(shape.longest_diameter_mm)


def test_sphere_has_the_size_of_a_sphere_within_half_a_voxel() -> None:
    radius_mm, spacing = 20.0, np.array([3.0, 2.0, 2.0])
    z, y, x = np.meshgrid(
        *((np.arange(-n, n + 1) * mm) for n, mm in zip((9, 12, 12), spacing, strict=True)), indexing="ij"
    )
    shape = measure_shape(z**2 + y**2 + x**2 <= radius_mm**2, spacing_zyx_mm=tuple(spacing))
    half = float(spacing.max()) / 2  # a corner of the mesh lies half way between a voxel inside and one outside

    low, high = radius_mm - half, radius_mm + half
    assert 2 * low <= shape.longest_diameter_mm <= 2 * high
    assert 4 / 3 * math.pi * low**3 <= shape.volume_mm3 <= 4 / 3 * math.pi * high**3
    assert 0.9 < shape.sphericity < 1.0


def test_empty_lesion_is_refused() -> None:
    with pytest.raises(ValueError, match="has voxels"):
        measure_shape(np.zeros((2, 2, 2), bool), spacing_zyx_mm=(1.0, 1.0, 1.0))
