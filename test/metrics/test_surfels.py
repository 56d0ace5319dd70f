from __future__ import annotations

import math
from collections import Counter

import ibsi_phantom
import numpy as np
import pytest
from drawn_masks import box
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from surface_distance import lookup_tables

from swfastedit_core.metrics.surfels import mesh, mesh_volume, neighbour_codes, surfel_areas, triangle_areas

VOXEL = np.ones((1, 1, 1), bool)
CUBIC = (1.0, 1.0, 1.0)
SPACINGS = [CUBIC, (3.0, 2.0, 1.0), (1.0, 2.5, 4.0), (3.27, 4.6875, 4.6875)]
masks = arrays(bool, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6))


def surface(mask, spacing=CUBIC):
    return triangle_areas(mesh(mask, spacing)).sum()


def volume(mask, spacing=CUBIC):
    return mesh_volume(mesh(mask, spacing))


def test_codes_of_a_voxel():
    assert neighbour_codes(VOXEL).tolist() == [[[1, 2], [4, 8]], [[16, 32], [64, 128]]]
    assert neighbour_codes(VOXEL).dtype == np.uint8
    assert neighbour_codes(np.full((2, 2, 2), 7))[1, 1, 1] == 255
    assert not neighbour_codes(np.zeros((2, 3, 4))).any()


@pytest.mark.parametrize("spacing", SPACINGS)
def test_areas_are_those_of_surface_distance(spacing):
    expected = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    np.testing.assert_allclose(surfel_areas(spacing), expected, rtol=1e-12, atol=0)


def test_codes_are_those_of_surface_distance():
    mask = np.random.default_rng(0).random((4, 5, 6)) < 0.5
    kernel = lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL
    expected = ndimage.correlate(np.pad(mask, (0, 1)).astype(np.uint8), kernel, mode="constant")
    assert (neighbour_codes(mask) == expected).all()


def test_areas_by_hand():
    areas = surfel_areas((3.0, 2.0, 1.0))
    assert areas[0] == areas[255] == 0
    assert areas[0b00001111] == areas[0b11110000] == pytest.approx(2 * 1)  # between two slices: a flat piece
    assert areas[0b01010101] == pytest.approx(3 * 2)
    assert areas[1] == areas[254] == pytest.approx(math.sqrt(2**2 + 3**2 + 6**2) / 8)  # a cut corner


def test_mesh_of_a_voxel_is_an_octahedron():
    triangles = mesh(box((4, 5, 6), (1, 2, 3), (1, 1, 1)), (3.0, 2.0, 1.0))
    corners = {tuple(corner) for corner in triangles.reshape(-1, 3)}
    assert corners == {(1.5, 4, 3), (4.5, 4, 3), (3, 3, 3), (3, 5, 3), (3, 4, 2.5), (3, 4, 3.5)}
    assert len(triangles) == 8
    assert mesh_volume(triangles) == pytest.approx(3 * 2 * 1 / 6)
    assert surface(VOXEL) == pytest.approx(math.sqrt(3))


@pytest.mark.parametrize(
    ("second", "expected_volume", "expected_surface"),
    [
        ((0, 0, 1), 1 / 6 + 1 / 2, math.sqrt(3) + 2 * math.sqrt(2)),  # a face: a square bar with pyramids at its ends
        ((1, 1, 1), 2 / 6, 2 * math.sqrt(3)),  # a corner: two octahedra
        ((0, 0, 2), 2 / 6, 2 * math.sqrt(3)),
    ],
)
def test_mesh_of_two_voxels(second, expected_volume, expected_surface):
    mask = np.zeros((2, 2, 3), bool)
    mask[0, 0, 0] = mask[second] = True
    assert volume(mask) == pytest.approx(expected_volume)
    assert surface(mask) == pytest.approx(expected_surface)


@pytest.mark.parametrize(
    ("second", "pieces"), [((0, 0, 1), 1), ((0, 1, 1), 1), ((1, 0, 1), 1), ((1, 1, 1), 2), ((0, 0, 2), 2)]
)
def test_mesh_joins_voxels_as_components_do(second, pieces):
    mask = np.zeros((2, 2, 3), bool)
    mask[0, 0, 0] = mask[second] = True
    assert count_pieces(mesh(mask, CUBIC)) == pieces


def count_pieces(triangles):
    """Count the parts of a mesh that have no corner in common."""
    parts = []
    for triangle in triangles.tolist():
        corners = set(map(tuple, triangle))
        touched = [part for part in parts if part & corners]
        parts = [part for part in parts if not part & corners] + [corners.union(*touched)]
    return len(parts)


def test_mesh_of_each_code_is_closed():
    for code in range(1, 256):
        mask = np.array([code >> (7 - bit) & 1 for bit in range(8)]).reshape(2, 2, 2)
        assert neighbour_codes(mask)[1, 1, 1] == code
        assert open_edges(mesh(mask, CUBIC)) == [], code
        assert 0 < volume(mask) < mask.sum(), code


@settings(max_examples=40, deadline=None)
@given(mask=masks)
def test_mesh_is_closed_and_faces_outwards(mask):
    triangles = mesh(mask, CUBIC)
    assert open_edges(triangles) == []
    assert (mesh_volume(triangles) > 0) == mask.any()


def open_edges(triangles):
    """Return the edges of a mesh that the triangle on their other side does not run through backwards."""
    edges = Counter()
    for a, b, c in (triangles * 2).astype(int).tolist():
        edges.update(zip(map(tuple, (a, b, c)), map(tuple, (b, c, a)), strict=True))
    return [(start, end) for (start, end), uses in edges.items() if uses != edges[end, start]]


@settings(max_examples=40, deadline=None)
@given(mask=masks)
def test_surface_and_volume_depend_on_no_axis_and_no_border(mask):
    spacing = (3.0, 2.0, 1.0)
    expected = (surface(mask, spacing), volume(mask, spacing), surfel_areas(spacing)[neighbour_codes(mask)].sum())
    for axis in range(3):
        flipped = np.flip(mask, axis)
        assert (surface(flipped, spacing), volume(flipped, spacing)) == pytest.approx(expected[:2])
    turned, turned_spacing = mask.transpose(2, 0, 1), (1.0, 3.0, 2.0)
    areas = surfel_areas(turned_spacing)[neighbour_codes(turned)].sum()
    assert (surface(turned, turned_spacing), volume(turned, turned_spacing), areas) == pytest.approx(expected)
    padded = np.pad(mask, ((1, 0), (0, 2), (3, 1)))
    assert (surface(padded, spacing), volume(padded, spacing)) == pytest.approx(expected[:2])


def test_volume_is_exact_far_from_voxel_0():
    spacing = (3.27, 2.04, 2.04)
    far = np.add(mesh(VOXEL, spacing), (1e6, 2e6, 3e6))
    assert mesh_volume(far) == pytest.approx(3.27 * 2.04 * 2.04 / 6, rel=1e-8)


def test_surface_of_surfels_and_of_the_mesh_agree_on_blobs():
    """They differ where foreground meets at an edge only: nowhere on a box, hardly on blobs, everywhere in noise."""
    spacing = (3.0, 2.0, 2.0)
    cuboid = box((6, 7, 8), (1, 1, 1), (3, 4, 5))
    rng = np.random.default_rng(0)
    noise = rng.random((14, 15, 16))
    ratios = [
        surface(mask, spacing) / surfel_areas(spacing)[neighbour_codes(mask)].sum()
        for mask in (cuboid, ndimage.gaussian_filter(noise, 1.2) > 0.52, noise > 0.7)
    ]
    assert ratios[0] == pytest.approx(1, abs=1e-12)
    assert 1 < ratios[1] < 1.02
    assert ratios[2] > 1.2


def test_sphere():
    """The mesh cuts corners, so its volume is below that of the voxels; both tend to that of the sphere."""
    z, y, x = np.ogrid[-12:13, -12:13, -12:13]
    mask = z**2 + y**2 + x**2 <= 11**2
    assert volume(mask) == pytest.approx(4 / 3 * math.pi * 11**3, rel=0.02)
    assert surface(mask) == pytest.approx(4 * math.pi * 11**2, rel=0.1)
    assert surface(mask) > 4 * math.pi * 11**2


def test_phantom_of_the_ibsi():
    triangles = mesh(ibsi_phantom.MASK_ZYX, ibsi_phantom.SPACING_ZYX_MM)
    area, inside = triangle_areas(triangles).sum(), mesh_volume(triangles)
    corners = np.unique(triangles.reshape(-1, 3), axis=0)
    diameter = np.linalg.norm(corners[:, None] - corners, axis=2).max()
    for found, (expected, tolerance) in [
        (inside, ibsi_phantom.MESH_VOLUME_MM3),
        (area, ibsi_phantom.SURFACE_MM2),
        ((36 * math.pi * inside**2) ** (1 / 3) / area, ibsi_phantom.SPHERICITY),
        (area / inside, ibsi_phantom.SURFACE_TO_VOLUME_PER_MM),
        (diameter, ibsi_phantom.MAXIMUM_DIAMETER_MM),
    ]:
        assert found == pytest.approx(expected, abs=tolerance)
    assert (inside, area) == pytest.approx((556.3333, 388.0706), abs=1e-4)
    assert ibsi_phantom.MASK_ZYX.sum() == 74
    assert ibsi_phantom.IMAGE_ZYX[ibsi_phantom.MASK_ZYX].mean() == pytest.approx(2.1486, abs=1e-4)
