from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from swfastedit_core import UserError
from swfastedit_core.box import Box
from swfastedit_core.checkpoint import Channels
from swfastedit_core.intensity import RangeIntensity, scale_intensity
from swfastedit_core.preprocess import Preprocessing
from swfastedit_core.train.crops.crops import CropSettings, flip_and_rotate, read_crop, sample_box, to_network_input
from swfastedit_core.train.store.arrays import Arrays
from swfastedit_core.train.store.case_writer import write_case
from swfastedit_core.train.store.prepared_case import open_case

KEY = "c0ffee" * 8


@pytest.fixture
def prepared(tmp_path):
    """Return a function that puts arrays into the store and opens them."""

    def put(shape, *, lesions=(), body=((0, 0, 0),), image=None, channels=Channels.PET, suv_scale=(0.0, 10.0)):
        label = np.zeros(shape, np.uint8)
        for voxels in lesions:
            label[voxels] = 1
        image = np.zeros((channels.count, *shape)) if image is None else image
        arrays = Arrays(image.astype(np.float16), label, suv_scale, np.array(body, np.int32))
        write_case(tmp_path / "ca5e", arrays, key=KEY, name="someone", channels=channels)
        return open_case(tmp_path / "ca5e", name="someone", patient="p", group="g")

    return put


def boxes(case, count, **settings):
    rng = np.random.default_rng(1)
    return [sample_box(case, rng, CropSettings(**settings))[0] for _ in range(count)]


# --------------------------------------------------------------------------------------------------- where it lies


def test_positive_crop_has_the_lesion_voxel_in_its_middle(prepared):
    case = prepared((20, 20, 20), lesions=[(10, 9, 8)])
    assert boxes(case, 1, size=(8, 6, 5), positive=1.0) == [Box((6, 6, 6), (14, 12, 11))]


def test_crop_is_moved_to_lie_within_the_volume(prepared):
    case = prepared((20, 20, 20), lesions=[(0, 19, 2)])
    assert boxes(case, 1, size=(8, 6, 4), positive=1.0) == [Box((0, 14, 0), (8, 20, 4))]


def test_crop_lies_around_a_smaller_volume(prepared):
    case = prepared((5, 8, 3), lesions=[(4, 0, 1)])
    assert boxes(case, 1, size=(8, 8, 8), positive=1.0) == [Box((-1, 0, -2), (7, 8, 6))]


def test_crops_are_around_lesions_in_the_patient_and_anywhere_as_often_as_asked(prepared):
    case = prepared((40, 40, 40), lesions=[(5, 5, 5)], body=[(30, 31, 32)])
    starts = Counter(box.start for box in boxes(case, 4000, size=(4, 4, 4), in_patient=0.75))
    assert starts[3, 3, 3] / 4000 == pytest.approx(0.6, abs=0.03)
    assert starts[28, 29, 30] / 4000 == pytest.approx(0.4 * 0.75, abs=0.03)
    elsewhere = [start for start in starts if start not in ((3, 3, 3), (28, 29, 30))]
    assert (np.min(elsewhere, axis=0) == 0).all()
    assert (np.max(elsewhere, axis=0) == 36).all()


def test_case_without_a_lesion_gives_crops_of_the_patient_instead(prepared):
    case = prepared((40, 40, 40), body=[(30, 31, 32)])
    starts = Counter(box.start for box in boxes(case, 2000, size=(4, 4, 4), in_patient=0.75))
    assert starts[28, 29, 30] / 2000 == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(("exponent", "share"), [(0.0, 1 / 28), (0.5, 1 / (1 + 27**0.5)), (1.0, 1 / 2)])
def test_small_lesions_are_drawn_more_often_as_asked(prepared, exponent, share):
    """One lesion of a single voxel, one of 27."""
    case = prepared((40, 40, 40), lesions=[(5, 5, 5), np.s_[20:23, 20:23, 20:23]])
    found = boxes(case, 3000, size=(2, 2, 2), positive=1.0, small_lesion_preference=exponent)
    assert np.mean([box.start == (4, 4, 4) for box in found]) == pytest.approx(share, abs=0.03)
    others = {box.start for box in found if box.start != (4, 4, 4)}
    assert len(others) == 27  # every voxel of the large one is a centre


@pytest.mark.parametrize(
    ("jitter", "seen"),
    [
        (0.0, ({4}, {2}, {2})),
        (0.25, ({2, 3, 4, 5, 6}, {1, 2, 3}, {1, 2, 3})),
        (0.5, (set(range(8)), set(range(5)), set(range(4)))),
    ],
)
def test_jitter_moves_the_lesion_in_the_crop_but_never_out_of_it(prepared, jitter, seen):
    case = prepared((40, 40, 40), lesions=[(20, 20, 20)])
    found = boxes(case, 400, size=(8, 5, 4), positive=1.0, jitter=jitter)
    places = np.array([20 - np.array(box.start) for box in found])
    assert tuple(set(column.tolist()) for column in places.T) == seen


def test_lesion_free_crops_lie_in_the_patient_and_hold_no_lesion(prepared):
    body = [(x, 10, 10) for x in range(40)]
    case = prepared((40, 20, 20), lesions=[np.s_[18:22, 8:12, 8:12]], body=body)
    found = boxes(case, 300, size=(8, 8, 8), lesion_free=1.0)
    assert {box.start for box in found} == {(x, 6, 6) for x in [*range(11), *range(22, 33)]}


def test_lesion_free_crop_is_given_up_where_every_crop_holds_a_lesion(prepared):
    case = prepared((9, 9, 9), lesions=[(4, 4, 4)], body=[(1, 1, 1), (7, 7, 7)])
    found = boxes(case, 50, size=(8, 8, 8), lesion_free=1.0, positive=1.0)
    assert set(found) == {Box((0, 0, 0), (8, 8, 8))}


def test_share_of_lesion_free_crops_is_taken_before_the_others(prepared):
    case = prepared((40, 40, 40), lesions=[(5, 5, 5)], body=[(30, 30, 30)])
    starts = Counter(
        box.start for box in boxes(case, 3000, size=(4, 4, 4), lesion_free=0.5, positive=0.6, in_patient=0.75)
    )
    assert starts[3, 3, 3] / 3000 == pytest.approx(0.3, abs=0.03)
    assert starts[28, 28, 28] / 3000 == pytest.approx(0.5 + 0.5 * 0.4 * 0.75, abs=0.03)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (8, 0, 8)}, "--crop 8 0 8, expected 1 or more"),
        ({"positive": 1.5}, "positive 1.5, expected a number from 0 to 1"),
        ({"lesion_free": -0.1}, "--lesion-free -0.1"),
        ({"flip": float("nan")}, "flip nan"),
        ({"jitter": 0.6}, "jitter 0.6, expected a number from 0 to 0.5"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        CropSettings(**settings)


# ------------------------------------------------------------------------------------------------------ reading it


def test_crop_within_the_volume_is_cut_from_it(prepared):
    image = np.arange(2 * 6 * 5 * 4).reshape(2, 6, 5, 4)
    case = prepared((6, 5, 4), image=image, channels=Channels.PET_CT, lesions=[(2, 3, 1)])
    crop, label = read_crop(case, Box((1, 2, 0), (4, 5, 3)))
    np.testing.assert_array_equal(crop, image[:, 1:4, 2:5, 0:3])
    assert (crop.dtype, label.dtype) == (np.float32, np.uint8)
    assert np.argwhere(label).tolist() == [[1, 1, 1]]


def test_what_lies_beyond_the_volume_is_air(prepared):
    image = np.stack([np.full((2, 3, 4), 5.0), np.full((2, 3, 4), 40.0)])
    case = prepared((2, 3, 4), image=image, channels=Channels.PET_CT, lesions=[(0, 0, 3)])
    (pet, ct), label = read_crop(case, Box((-1, 0, -3), (4, 3, 5)))
    assert pet.shape == ct.shape == label.shape == (5, 3, 8)
    inside = np.s_[1:3, :, 3:7]
    assert (pet[inside] == 5).all()
    assert pet.sum() == 5 * 24
    assert (ct[inside] == 40).all()
    assert ct.sum() == 40 * 24 - 1024 * (5 * 3 * 8 - 24)
    assert np.argwhere(label).tolist() == [[1, 0, 6]]


def test_what_is_not_finite_becomes_zero(prepared):
    image = np.array([np.nan, np.inf, -np.inf, 2.0]).reshape(1, 4, 1, 1)
    crop, _ = read_crop(prepared((4, 1, 1), image=image), Box((0, 0, 0), (4, 1, 1)))
    assert crop.ravel().tolist() == [0, 0, 0, 2]


# ------------------------------------------------------------------------------------------------------ turning it


def pair(*shape):
    """Make two channels and a label whose values tell where a voxel was."""
    label = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    return np.stack([label * 2.0, label * -1.0]).astype(np.float32), label


def outcomes(shape, count, **settings):
    """Count the labels that come out, and check that the channels turn with them."""
    image, label = pair(*shape)
    rng, found = np.random.default_rng(2), Counter()
    for _ in range(count):
        turned_image, turned_label = flip_and_rotate(image, label, rng, CropSettings(**settings))
        np.testing.assert_array_equal(turned_image[0], turned_label * 2.0)
        np.testing.assert_array_equal(turned_image[1], turned_label * -1.0)
        torch.from_numpy(turned_image)  # refuses negative strides
        torch.from_numpy(turned_label)
        found[turned_label.shape, turned_label.tobytes()] += 1
    return label, found


def test_certain_flips_reverse_all_axes():
    label, found = outcomes((2, 3, 4), 5, flip=1.0, rotate=0.0)
    assert found == {((2, 3, 4), label[::-1, ::-1, ::-1].tobytes()): 5}


def test_each_axis_is_flipped_on_its_own():
    label, found = outcomes((2, 3, 4), 4000, flip=0.1, rotate=0.0)
    assert found[label.shape, label.tobytes()] / 4000 == pytest.approx(0.9**3, abs=0.03)
    for flipped in (label[::-1], label[:, ::-1], label[:, :, ::-1]):
        assert found[label.shape, flipped.tobytes()] / 4000 == pytest.approx(0.1 * 0.9**2, abs=0.02)


def test_square_crops_are_turned_by_one_two_or_three_quarters_about_the_body_axis():
    label, found = outcomes((3, 3, 2), 3000, flip=0.0, rotate=0.6)
    swapped = label.transpose(1, 0, 2)
    expected = [label, swapped[::-1], label[::-1, ::-1], swapped[:, ::-1]]
    shares = [found[label.shape, array.tobytes()] / 3000 for array in expected]
    assert shares == pytest.approx([0.4, 0.2, 0.2, 0.2], abs=0.03)


def test_other_crops_are_turned_by_half_a_turn_and_keep_their_shape():
    label, found = outcomes((2, 3, 2), 5, flip=0.0, rotate=1.0)
    assert found == {((2, 3, 2), label[::-1, ::-1].tobytes()): 5}


# ---------------------------------------------------------------------------------------------------- network input


def test_network_input_is_scaled_by_the_case_and_the_preprocessing(prepared):
    case = prepared((2, 2, 2), channels=Channels.PET_CT, suv_scale=(1.0, 5.0))
    suv = np.array([0, 1, 2, 3, 4, 5, 6, 99]).reshape(2, 2, 2)
    hu = np.array([-1024, -200, -100, 0, 100, 200, 300, 3000]).reshape(2, 2, 2)
    image = np.stack([suv, hu]).astype(np.float32)
    scaled = to_network_input(image, case, Preprocessing(ct_hu=(-200.0, 200.0)))
    assert scaled[0].ravel() == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1, 1, 1])
    assert scaled[1].ravel() == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1, 1, 1])
    assert scaled.dtype == np.float32
    assert image[0, 1, 1, 1] == 99  # left as it was


def test_network_input_is_that_of_inference(prepared):
    suv = np.random.default_rng(0).uniform(-1, 12, (1, 8, 8, 8)).astype(np.float32)
    case = prepared((8, 8, 8), suv_scale=(0.3, 9.7))
    expected = scale_intensity(torch.from_numpy(suv[0].copy()), RangeIntensity(0.3, 9.7)).numpy()
    np.testing.assert_allclose(to_network_input(suv, case, Preprocessing())[0], expected, atol=1e-6)
