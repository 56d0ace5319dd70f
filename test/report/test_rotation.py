from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from example_report import display_of, lesions_of, scan_with_balls
from PIL import Image

from swfastedit_core import Geometry, Volume
from swfastedit_core.report.pictures.rotation import VIEWS, best_views, encode_rotation, rotate

LEFT_FRONT = (30, 12, 38, 3)  # z, y, x, radius: towards the patient's left and front
RIGHT_BACK = (15, 26, 12, 2)


def rotated(pet, numbers, window=(0.0, 10.0)):
    lesions = lesions_of(pet, numbers)
    display = display_of(pet, numbers, window)
    return display, rotate(display, display.positions(lesion.centroid_xyz for lesion in lesions))


def views(rotation, name="grey"):
    """Return all 36 views: those of the second half are mirror images."""
    half = getattr(rotation, name)
    return np.concatenate([half, half[:, :, ::-1]])


def without_margins(view):
    return view[:, view.any(axis=0)]


def test_view_at_right_angles_is_the_projection_along_the_axis():
    display, rotation = rotated(*scan_with_balls(LEFT_FRONT, RIGHT_BACK))
    for name in ("grey", "numbers"):
        array, turned = getattr(display, name), views(rotation, name)
        front, left = array.max(axis=1), array.max(axis=2)
        expected = {0: front, 9: left, 18: front[:, ::-1], 27: left[:, ::-1]}
        for view, projection in expected.items():
            assert np.array_equal(without_margins(turned[view]), without_margins(projection)), (name, view)


def test_hot_spot_on_the_left_is_on_the_right_from_the_front_and_in_front_from_the_left():
    _, rotation = rotated(*scan_with_balls(LEFT_FRONT))
    turned = views(rotation, "numbers")
    middle = (turned.shape[2] - 1) / 2
    columns = {view: np.flatnonzero(turned[view].any(axis=0)).mean() - middle for view in (0, 9, 18, 27)}
    left_mm, back_mm = (38 - 24.5) * 4, (12 - 19.5) * 4
    for view, expected_mm in {0: left_mm, 9: back_mm, 18: -left_mm, 27: -back_mm}.items():
        assert columns[view] * rotation.pixel_mm[1] == pytest.approx(expected_mm, abs=4)
    assert rotation.positions_mm[0, 1:].tolist() == pytest.approx([back_mm, left_mm], abs=4)


def test_lesion_is_where_its_position_is_projected_in_every_view():
    _, rotation = rotated(*scan_with_balls(LEFT_FRONT))
    turned = views(rotation, "numbers")
    ((up, back, left),) = rotation.positions_mm
    for view in range(VIEWS):
        angle = 2 * np.pi * view / VIEWS
        across = (left * np.cos(angle) + back * np.sin(angle)) / rotation.pixel_mm[1]
        rows, columns = np.nonzero(turned[view])
        assert columns.mean() - (turned.shape[2] - 1) / 2 == pytest.approx(across, abs=0.8)
        assert rows.mean() == pytest.approx(up / rotation.pixel_mm[0], abs=0.1)


def test_no_view_misses_a_voxel():
    """Single voxels everywhere in a plane: each is in its view with its full value."""
    array = np.zeros((9, 31, 30), np.float32)
    array[:, 5:26, 5:25] = 0.5
    generator = np.random.default_rng(1)
    for z in range(9):
        array[z, generator.integers(5, 26), generator.integers(5, 25)] = 10.0
    pet = Volume(array, Geometry((30, 31, 9), (4.0, 4.0, 4.0)))
    _, rotation = rotated(pet, np.zeros(array.shape, np.int32))
    assert (rotation.grey.max(axis=2) == 255).all()


def test_small_voxels_are_pooled_and_keep_their_maximum():
    pet, numbers = scan_with_balls(LEFT_FRONT, shape_zyx=(60, 40, 50))
    fine = Volume(pet.array_zyx, Geometry(pet.geometry.size_xyz, (0.7, 0.7, 1.0)))
    display, rotation = rotated(fine, numbers)
    assert rotation.pixel_mm == pytest.approx((2.0, 2.1))
    assert rotation.grey.shape[1] == 30
    assert rotation.grey[0].max() == display.grey.max() == round(8 * 25.5)
    ((up, _, left),) = rotation.positions_mm
    rows, columns = np.nonzero(rotation.numbers[0])
    assert rows.mean() * 2.0 == pytest.approx(up, abs=1.0)
    assert (columns.mean() - (rotation.grey.shape[2] - 1) / 2) * 2.1 == pytest.approx(left, abs=2.1)


def test_best_view_is_from_the_lesions_side():
    """From the front, the left, the back, the right; halfway between front and left."""
    back_left = [[-50, 0], [0, 50], [50, 0], [0, -50], [-50, 50]]
    assert best_views(np.array([[0.0, back, left] for back, left in back_left])) == [0, 9, 18, 27, 4]


@pytest.mark.parametrize(("axes", "turned"), [((0, 1, 2), (0, 1)), ((2, 0, 1), (1,)), ((1, 2, 0), (0, 1, 2))])
def test_display_does_not_depend_on_the_axes_of_the_file(axes, turned):
    pet, numbers = scan_with_balls(LEFT_FRONT, RIGHT_BACK)
    expected, _ = rotated(pet, numbers)
    direction = np.zeros((3, 3))
    for file_axis, patient_axis in enumerate(axes):
        direction[patient_axis, file_axis] = -1 if file_axis in turned else 1

    def stored(array):
        return np.flip(array.transpose(2, 1, 0).transpose(axes), turned).transpose(2, 1, 0)

    geometry = Geometry(
        tuple(pet.geometry.size_xyz[axis] for axis in axes),
        tuple(pet.geometry.spacing_mm[axis] for axis in axes),
        direction=tuple(direction.ravel().tolist()),
    )
    other = Volume(stored(pet.array_zyx), geometry)
    display, rotation = rotated(other, stored(numbers))
    assert display.voxel_mm == expected.voxel_mm == (5.0, 4.0, 4.0)
    body = [np.s_[*(slice(i.min(), i.max() + 1) for i in np.nonzero(x.grey))] for x in (display, expected)]
    for name in ("grey", "numbers"):
        assert np.array_equal(getattr(display, name)[body[0]], getattr(expected, name)[body[1]])
    left_first = rotation.positions_mm[0]
    assert left_first[1] < 0 < left_first[2]
    back_second = rotation.positions_mm[1]
    assert back_second[2] < 0 < back_second[1]
    assert left_first[0] - back_second[0] == pytest.approx(75.0)  # 15 slices nearer to the head


def test_page_gets_the_views_head_first():
    _, rotation = rotated(*scan_with_balls((50, 20, 25, 3)))  # near the head
    encoded = encode_rotation(rotation)
    content = base64.b64decode(encoded["sprite"].removeprefix("data:image/jpeg;base64,"))
    sprite = np.asarray(Image.open(io.BytesIO(content)))
    assert sprite.shape == (3 * encoded["rows"], 6 * encoded["columns"])
    first = sprite[: encoded["rows"], : encoded["columns"]]
    darkest = np.unravel_index(first.argmin(), first.shape)
    assert darkest[0] == pytest.approx(encoded["rows"] - 1 - 50, abs=3)
    assert first[darkest] == pytest.approx(255 - 8 * 25.5, abs=20)


def test_report_of_a_scan_without_a_body_shows_the_whole_scan():
    pet = Volume(np.zeros((5, 6, 7), np.float32), Geometry((7, 6, 5), (4.0, 4.0, 4.0)))
    display, rotation = rotated(pet, np.zeros((5, 6, 7), np.int32))
    assert display.grey.shape == (5, 6, 7)
    assert not rotation.grey.any()
