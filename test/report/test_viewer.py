from __future__ import annotations

import base64
import gzip
import re

import nibabel
import numpy as np
import pytest

from swfastedit_core import Geometry, Volume
from swfastedit_core.errors import UserError
from swfastedit_core.report.page import niivue, viewer

OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, -1.0)


def decoded(text):
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


@pytest.mark.parametrize("direction", [(1.0, 0, 0, 0, 1, 0, 0, 0, 1), (-1.0, 0, 0, 0, 0, 1, 0, -1, 0), OBLIQUE])
def test_a_voxel_lies_where_it_lies_in_the_scan(direction):
    geometry = Geometry((3, 4, 5), (2.0, 3.0, 4.0), (-10.0, 20.0, 30.0), tuple(map(float, direction)))
    array = np.zeros((5, 4, 3), np.uint8)
    array[4, 2, 1] = 7
    image = decoded(viewer.encode_nifti(array, geometry))
    (where,) = np.argwhere(image.get_fdata())
    left, posterior, superior = np.array(direction).reshape(3, 3) @ (2.0, 6.0, 16.0) + (-10.0, 20.0, 30.0)
    np.testing.assert_allclose(nibabel.affines.apply_affine(image.affine, where), (-left, -posterior, superior), 1e-5)
    assert image.header.get_zooms() == (2.0, 3.0, 4.0)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_values_are_scaled():
    array = np.array([[[0, 51, 255]]], np.uint8)
    image = decoded(viewer.encode_nifti(array, Geometry((3, 1, 1), (1.0, 1.0, 1.0)), slope=0.04, intercept=1.0))
    np.testing.assert_allclose(image.get_fdata().ravel(), [1.0, 3.04, 11.2], rtol=1e-6)


def test_numbers_above_255_are_kept():
    array = np.array([[[0, 300]]], np.int16)
    assert decoded(viewer.encode_nifti(array, Geometry((2, 1, 1), (1.0, 1.0, 1.0)))).get_fdata().max() == 300


@pytest.mark.parametrize(
    ("size", "spacing", "factors"),
    [
        ((10, 10, 10), (2.04, 2.04, 3.0), (2, 2, 1)),
        ((10, 10, 10), (5.5, 5.5, 5.0), (1, 1, 1)),
        ((400, 400, 1100), (2.04, 2.04, 3.0), (3, 3, 2)),  # (2, 2, 2) are 22 million cells, (2, 2, 1) 44 million
    ],
)
def test_cells_measure_about_4_mm(size, spacing, factors):
    assert viewer.cell_factors(Geometry(size, spacing)) == factors


def test_a_cell_has_the_highest_value_and_the_centre_of_its_voxels():
    array = np.arange(5 * 2 * 3).reshape(5, 2, 3)
    np.testing.assert_array_equal(viewer.largest(array, (2, 1, 3)), [[[13, 14], [16, 17]], [[25, 26], [28, 29]]])
    grid = viewer.reduced_geometry(Geometry((3, 2, 5), (2.0, 3.0, 1.0), (10.0, 20.0, 30.0)), (2, 1, 3))
    assert grid == Geometry((2, 2, 2), (4.0, 3.0, 3.0), (11.0, 20.0, 31.0))


def test_the_hottest_cell_of_each_lesion_in_ras():
    suv, numbers = np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 4), np.uint8)
    numbers[0, 0, :2], numbers[1, 2, 2:] = 1, 3
    suv[0, 0, :2], suv[1, 2, 2:], suv[1, 0, 0] = (5, 9), (255, 4), 255
    geometry = Geometry((4, 3, 2), (2.0, 3.0, 4.0), (1.0, 1.0, 1.0))
    assert viewer.hottest_cells(suv, numbers, geometry) == {1: [-3.0, -1.0, 1.0], 3: [-5.0, -7.0, 5.0]}


@pytest.fixture
def code(monkeypatch):
    text = 'const trap = "<!--<script></SCRIPT>";'
    monkeypatch.setattr(niivue, "read", lambda: text)
    return text


def section(lesions):
    pet = Volume(np.full((4, 4, 4), 3.0, np.float32), Geometry((4, 4, 4), (4.0, 4.0, 4.0)))
    pet.array_zyx[0, 0, :3] = np.nan, -1, 50
    numbers = np.zeros((4, 4, 4), np.int32)
    numbers[1, 1, 1] = lesions
    return str(viewer.viewer_section(pet, numbers))


def test_the_section_has_pet_and_lesions_and_the_licence(code):
    page = section(300)
    pet, lesions = (
        decoded(re.search(rf'id="viewer-{name}">([^<]*)<', page)[1]).get_fdata() for name in ("pet", "lesions")
    )
    np.testing.assert_allclose(pet[:, 0, 0], [0, 0, 10, 3], atol=10 / 255 / 2)
    assert (lesions[1, 1, 1], lesions.sum()) == (300, 300)
    assert "Copyright (c) 2021, Niivue" in page


def test_a_number_that_int16_cannot_hold_is_still_a_lesion(code):
    page = section(40_000)
    assert decoded(re.search(r'id="viewer-lesions">([^<]*)<', page)[1]).get_fdata().max() == 32_767
    assert "SUV 0 is white, SUV 10 and above is black" in page


def test_without_lesions_there_is_no_mask(code):
    page = section(0)
    assert 'id="viewer-lesions"></script>' in page
    assert 'id="viewer-mask"' not in page


def test_code_does_not_end_its_script(code):
    assert r'const trap = "\x3c!--<script>\x3c/SCRIPT>";' in section(1)


def test_a_missing_file_is_said_before_the_work(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(viewer, "largest", None)
    with pytest.raises(UserError, match=r"is not there; run once: python -m swfastedit_core\.report fetch-viewer"):
        section(1)
