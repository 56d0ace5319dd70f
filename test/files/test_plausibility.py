from __future__ import annotations

import numpy as np
import pytest

from swfastedit_core import Geometry
from swfastedit_core.files.plausibility import doubts_about_pet, head_to_foot_mm
from swfastedit_core.phantom import make_phantom

BODY = Geometry((50, 40, 60), (10.0, 10.0, 15.0))  # 90 cm from head to foot
CROP = Geometry((50, 40, 30), (10.0, 10.0, 15.0))  # 45 cm


def scan(geometry=BODY, *, factor=1.0, shift=0.0):
    """A body of SUV 0.5 to 1.5 that fills half of the volume, with a bladder of 20."""
    array = np.zeros(geometry.shape_zyx, np.float32)
    inner = array[:, 10:30, 12:37]
    inner[:] = np.random.default_rng(0).uniform(0.5, 1.5, inner.shape)
    array[4:6, 20:22, 20:23] = 20.0
    return array * np.float32(factor) + np.float32(shift)


def doubts(array, geometry=BODY, stored=np.float32):
    return doubts_about_pet(array, geometry, stored=np.dtype(stored), low=float(array.min()), high=float(array.max()))


def test_scan_in_suv_gives_no_doubt():
    assert doubts(scan()) == []
    assert doubts(scan(CROP), CROP) == []


@pytest.mark.parametrize(("factor", "words"), [
    (5.0, "the mean over the body is 5, and about 1 in SUV; is the file in kBq/ml?"),
    (1 / 20, "the mean over the body is 0.05, and about 1 in SUV; were the values divided by their maximum?"),
    (5000.0, "maximum 100,000 is hardly an SUV; is the file in Bq/ml?"),
])  # fmt: skip
def test_other_scales_are_named(factor, words):
    (doubt,) = doubts(scan(factor=factor))
    assert doubt.startswith(words)


@pytest.mark.parametrize("factor", [0.3, 2.2])  # large patients, much fat, SUV by lean body mass
def test_unusual_suv_are_no_doubt(factor):
    assert doubts(scan(factor=factor)) == []


@pytest.mark.parametrize("factor", [5.0, 1 / 20])
def test_short_scans_are_not_judged_by_their_mean(factor):
    assert doubts(scan(CROP, factor=factor), CROP) == []


def test_z_scores_are_named():
    array = scan()
    (doubt,) = doubts((array - array.mean()) / array.std())
    assert "% of the voxels are below -0.2, and SUV are not negative; was the scan normalised (z-scores)?" in doubt


def test_few_negative_voxels_are_no_doubt():
    array = scan()
    array[:1, :30, :30] = -0.5  # 0.75 % of the voxels
    assert doubts(array) == []


def test_hounsfield_units_are_named():
    (doubt,) = doubts(scan(factor=50.0, shift=-1000.0))
    assert doubt.startswith("minimum -1,000 is no SUV; is it a CT in HU?")


@pytest.mark.parametrize("stored", [np.uint8, np.int8])
def test_eight_bits_are_named(stored):
    (doubt,) = doubts(np.rint(scan(factor=4.0)), stored=stored)
    assert doubt.startswith("the values are whole numbers of 8 bits")
    assert doubts(np.rint(scan(factor=1.0) + 0.3), stored=np.int16) == []


def test_one_value_is_named():
    assert doubts(np.full(BODY.shape_zyx, 3.0, np.float32)) == ["every voxel is 3, there is no image in it"]


def test_small_extent_is_named():
    grid = Geometry((50, 40, 9), (10.0, 10.0, 10.0))
    (doubt,) = doubts(scan(grid), grid)
    assert doubt == "the scan measures 50 × 40 × 9 cm by its header, hardly a body; is the voxel spacing in mm?"


def test_extent_from_head_to_foot_follows_the_direction():
    turned = Geometry((50, 40, 60), (10.0, 10.0, 15.0), direction=(0, 0, 1, 0, 1, 0, -1, 0, 0))  # x runs to the feet
    assert (head_to_foot_mm(BODY), head_to_foot_mm(turned)) == (900.0, 500.0)


@pytest.mark.parametrize("seed", range(3))
def test_phantoms_give_no_doubt(seed):
    pet = make_phantom(5000 + seed).pet
    assert doubts(pet.array_zyx, pet.geometry) == []


def test_bq_with_negative_voxels_is_no_ct():
    array = scan(factor=5000.0)
    array[0, 0, 0] = -700.0
    (doubt,) = doubts(array)
    assert doubt.startswith("maximum 100,000 is hardly an SUV; is the file in Bq/ml?")


@pytest.mark.parametrize("stored", [np.uint8, np.float32])
def test_mask_instead_of_a_pet_is_named(stored):
    assert doubts((scan() > 5).astype(np.float32), stored=stored) == [
        "every voxel is 0 or 1; is it a mask and not a PET?"
    ]
