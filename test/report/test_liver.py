import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from places import CROPS, SHARED, STS_001, real

from swfastedit_core.errors import UserError
from swfastedit_core.files.read import read_label, read_volume
from swfastedit_core.labels.axes import Turn, turn_volume
from swfastedit_core.phantom import field_of_view, make_phantom, sample_patient
from swfastedit_core.report.figures.cells import CellGrid
from swfastedit_core.report.figures.find_liver import find_liver
from swfastedit_core.report.figures.liver import measure_liver, sphere_zyx
from swfastedit_core.volume import Geometry, Volume

ACRIN = SHARED / "data" / "acrin_042"
SPACING_MM = (8.0, 8.0, 7.0)


@cache
def scan(seed: int) -> Volume:
    return make_phantom(seed, geometry=field_of_view(seed, spacing_mm=SPACING_MM)).pet


def levels(pet: Volume, low_mm: float, high_mm: float) -> Volume:
    """Return the slices between two heights."""
    grid = pet.geometry
    first, last = (
        int(np.clip((z - grid.origin_mm[2]) / grid.spacing_mm[2], 0, grid.size_xyz[2])) for z in (low_mm, high_mm)
    )
    part = pet.array_zyx[first:last]
    x_mm, y_mm, z_mm = grid.origin_mm
    origin_mm = (x_mm, y_mm, z_mm + first * grid.spacing_mm[2])
    return Volume(part, replace(grid, size_xyz=part.shape[::-1], origin_mm=origin_mm))


def test_mean_deviation_range_and_threshold() -> None:
    # Voxels of 10 mm whose centres are within 15 mm: the middle, 6 faces, 12 edges.
    array = np.zeros((5, 5, 5), np.float32)
    array[1:4, 1:4, 1:4] = 2.0
    array[2, 2, 2] = 2.0 + 19.0
    liver = measure_liver(Volume(array, Geometry((5, 5, 5), (10.0, 10.0, 10.0))), (20.0, 20.0, 20.0), guessed=False)

    assert liver.voxels == 19
    assert liver.suv_mean == pytest.approx(3.0)
    assert liver.suv_sd == pytest.approx(math.sqrt((18 * 1 + 18**2) / 18))
    assert liver.percist_suv == pytest.approx(4.5 + 2 * liver.suv_sd)
    assert liver.in_range
    assert not liver.guessed


@pytest.mark.parametrize(("suv", "in_range"), [(1.29, False), (1.3, True), (3.0, True), (3.01, False)])
def test_range_of_the_eanm(suv: float, in_range: bool) -> None:
    pet = Volume(np.full((9, 9, 9), suv), Geometry((9, 9, 9), (5.0, 5.0, 5.0)))
    assert measure_liver(pet, (20.0, 20.0, 20.0), guessed=True).in_range is in_range


def test_sphere_on_an_oblique_grid_is_in_patient_coordinates() -> None:
    turned = (0.6, -0.8, 0.0, 0.8, 0.6, 0.0, 0.0, 0.0, 1.0)
    grid = Geometry((20, 20, 20), (3.0, 4.0, 5.0), (100.0, -50.0, 7.0), turned)
    centre_mm = np.array([90.3, 20.1, 52.2])
    index = np.stack(sphere_zyx(tuple(centre_mm), grid), axis=1)[:, ::-1]
    positions_mm = np.argwhere(np.ones((20, 20, 20))) * grid.spacing_mm @ grid.axes_lps.T + grid.origin_mm

    assert len(index) == np.count_nonzero(np.linalg.norm(positions_mm - centre_mm, axis=1) <= 15)
    assert (np.linalg.norm(index * grid.spacing_mm @ grid.axes_lps.T + grid.origin_mm - centre_mm, axis=1) <= 15).all()


def test_sphere_that_reaches_beyond_the_image_is_refused() -> None:
    pet = Volume(np.ones((10, 10, 10)), Geometry((10, 10, 10), (4.0, 4.0, 4.0)))

    assert measure_liver(pet, (13.0, 20.0, 23.0), guessed=False).suv_mean == 1.0  # it touches two faces
    for outside in ((12.9, 20.0, 20.0), (20.0, 20.0, 23.1), (500.0, 0.0, 0.0), (math.nan, 20.0, 20.0)):
        with pytest.raises(UserError, match="right lobe"):
            measure_liver(pet, outside, guessed=False)


@pytest.mark.parametrize("turn", [Turn((0, 1, 2), (False,) * 3), Turn((2, 0, 1), (True, False, True))])
@pytest.mark.parametrize("size", [(40, 33, 50), (41, 35, 52)])
def test_cells_know_their_place_in_the_patient(turn: Turn, size: tuple[int, int, int]) -> None:
    grid = Geometry(size, (3.5, 4.0, 3.0), (7.0, 8.0, 9.0))
    ramp = np.array(np.argwhere(np.ones(grid.shape_zyx))[:, ::-1] * grid.spacing_mm + grid.origin_mm)
    means = []
    for axis in range(3):
        along = turn_volume(Volume(ramp[:, axis].reshape(grid.shape_zyx), grid), turn)
        cells = CellGrid.of(along.geometry)
        means.append(cells.mean(along.array_zyx)[2, 3, 4])

    assert cells.to_patient_mm(np.array([2, 3, 4])) == pytest.approx(means, abs=1e-3)


@pytest.mark.parametrize("seed", [1, 3, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(5, 25))])
def test_liver_of_a_phantom_is_found(seed: int) -> None:
    liver = next(region for region in sample_patient(seed).healthy if region.name == "liver")
    pet = scan(seed)

    centre_mm, reason = find_liver(pet)

    assert centre_mm is not None, reason
    index_zyx = sphere_zyx(centre_mm, pet.geometry)
    points = np.stack(index_zyx, axis=1)[:, ::-1] * pet.geometry.spacing_mm + pet.geometry.origin_mm
    assert (liver.parts[0].distance_mm(tuple(points.T.astype(np.float32))) < 0).all()
    assert measure_liver(pet, centre_mm, guessed=True).suv_mean == pytest.approx(liver.suv, rel=0.1)


def test_orientation_of_the_file_does_not_matter() -> None:
    pet = scan(3)
    centre_mm, _ = find_liver(pet)
    for turn in (Turn((1, 2, 0), (False, True, True)), Turn((2, 1, 0), (True, True, False))):
        turned_mm, _ = find_liver(turn_volume(pet, turn))
        # Cells begin at the file's first voxel, so that they are others.
        assert np.linalg.norm(np.subtract(turned_mm, centre_mm)) < 30


def test_sphere_keeps_away_from_lesions() -> None:
    pet = scan(3)
    centre_mm, _ = find_liver(pet)
    lesion = np.zeros(pet.geometry.shape_zyx, np.uint8)
    lesion[sphere_zyx(centre_mm, pet.geometry)] = 1

    other_mm, _ = find_liver(pet, lesion)

    assert np.linalg.norm(np.subtract(other_mm, centre_mm)) > 2 * 15
    assert not lesion[sphere_zyx(other_mm, pet.geometry)].any()


@pytest.mark.parametrize(("low_mm", "high_mm"), [(-250, 100), (-400, 0), (-1200, -720), (-1200, -450), (-2000, -900)])
def test_no_liver_where_the_scan_does_not_show_it_below_a_lung(low_mm: float, high_mm: float) -> None:
    assert find_liver(levels(scan(3), low_mm, high_mm))[0] is None


def test_no_liver_right_of_the_midline() -> None:
    pet = scan(1)
    mirrored = Volume(pet.array_zyx[:, :, ::-1].copy(), pet.geometry)

    assert find_liver(mirrored) == (None, "the largest region of even uptake in the trunk is not right of the midline")


def test_no_liver_in_images_without_a_patient() -> None:
    grid = Geometry((50, 50, 60), (7.0, 7.0, 7.0))
    z, y, x = np.indices(grid.shape_zyx)
    cylinder = 2.0 * ((y - 25) ** 2 + (x - 25) ** 2 < 20**2)
    for array in (np.zeros(grid.shape_zyx), np.ones(grid.shape_zyx), cylinder, 1.5 * cylinder * (z > 20)):
        assert find_liver(Volume(array.astype(np.float32), grid))[0] is None
    one = Volume(np.full((1, 1, 1), 2.0, np.float32), Geometry((1, 1, 1), (4.0, 4.0, 4.0)))
    assert find_liver(one)[0] is None


@real(STS_001)
def test_liver_of_sts_001_is_found() -> None:
    pet = read_volume(STS_001 / "pet.mha")
    centre_mm, _ = find_liver(pet, read_label(STS_001 / "lesion.mha").array_zyx)
    # Seen in the picture: the right lobe is at x -110 to -30, y -30 to 70, z -430 to -340 mm.
    assert np.all(np.greater(centre_mm, (-110, -30, -430)) & np.less(centre_mm, (-30, 70, -340)))
    assert 1.9 < measure_liver(pet, centre_mm, guessed=True).suv_mean < 2.4


@real(ACRIN)
def test_liver_of_acrin_042_is_found() -> None:
    pet = read_volume(ACRIN / "pet.mha")
    centre_mm, _ = find_liver(pet, read_label(ACRIN / "label.mha").array_zyx)
    assert np.all(np.greater(centre_mm, (-150, -80, -340)) & np.less(centre_mm, (-60, 40, -230)))
    assert 1.6 < measure_liver(pet, centre_mm, guessed=True).suv_mean < 2.2


@real(CROPS)
def test_no_liver_in_crops_around_a_sarcoma() -> None:
    for path in sorted((CROPS / "imagesTr").iterdir()):
        assert find_liver(read_volume(path))[0] is None, path
