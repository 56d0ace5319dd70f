from __future__ import annotations

import numpy as np
import pytest

from swfastedit_core import UserError
from swfastedit_core.checkpoint import Channels
from swfastedit_core.train.crops.augment import AugmentSettings, add_noise, apply_gamma, augment, move, smooth

SPACING_MM = (4.0, 4.0, 2.0)
BOTH = Channels.PET_CT
SIGMA_MM = 6.0 / 2.3548  # of a Gaussian 6 mm wide at half its height


def scan(shape=(12, 10, 8)):
    """Draw a PET with SUV 0 to 10 and a CT."""
    rng = np.random.default_rng(0)
    return np.stack([rng.uniform(0, 10, shape), rng.normal(0, 300, shape)]).astype(np.float32)


def changed(image, seed=0, **settings):
    rng = np.random.default_rng(seed)
    return augment(image, rng, AugmentSettings(**settings), spacing_mm=SPACING_MM, channels=BOTH)


def test_everything_is_off_by_default():
    image = scan()
    np.testing.assert_array_equal(changed(image), image)
    scaled = np.full((2, 1, 1, 1), 0.5, np.float32)
    np.testing.assert_array_equal(
        apply_gamma(scaled, np.random.default_rng(0), AugmentSettings(), channels=BOTH), scaled
    )


def test_what_is_given_is_left_as_it_is():
    image = scan()
    before = image.copy()
    out = changed(image, scale=1.0, blur=1.0, noise=1.0, misalign=1.0)
    np.testing.assert_array_equal(image, before)
    assert (out != before).mean() > 0.9
    assert out.dtype == np.float32


def test_scale_multiplies_the_suv_alone():
    image = scan()
    out = changed(image, scale=1.0, scale_range=(2.0, 2.0))
    np.testing.assert_array_equal(out[0], 2 * image[0])
    np.testing.assert_array_equal(out[1], image[1])


def test_factors_are_drawn_as_often_as_asked_and_evenly_on_a_logarithmic_scale():
    image = np.ones((2, 1, 1, 1), np.float32)
    drawn = np.array([changed(image, seed, scale=0.3, scale_range=(0.25, 4.0))[0, 0, 0, 0] for seed in range(4000)])
    drawn = drawn[drawn != 1]
    assert len(drawn) / 4000 == pytest.approx(0.3, abs=0.03)
    assert 0.25 <= drawn.min() < 0.27
    assert 3.8 < drawn.max() <= 4.0
    below = [np.mean(drawn < limit) for limit in (0.5, 1.0, 2.0)]
    assert below == pytest.approx([0.25, 0.5, 0.75], abs=0.05)


def test_smoothing_is_as_wide_in_millimetres_along_every_axis():
    point = np.zeros((21, 21, 31), np.float32)
    point[10, 10, 15] = 1
    out = smooth(point, 6.0, SPACING_MM)
    assert out[11, 10, 15] / out[10, 10, 15] == pytest.approx(np.exp(-(4.0**2) / (2 * SIGMA_MM**2)), rel=1e-3)
    assert out[10, 9, 15] == pytest.approx(out[11, 10, 15], rel=1e-5)
    assert out[10, 10, 17] / out[10, 10, 15] == pytest.approx(np.exp(-(4.0**2) / (2 * SIGMA_MM**2)), rel=1e-3)
    assert out.sum() == pytest.approx(1.0, rel=1e-5)


def test_blur_widens_the_pet_by_chance_up_to_the_limit_and_leaves_the_ct():
    image = np.zeros((2, 21, 21, 31), np.float32)
    image[:, 10, 10, 15] = 1
    z_mm = (np.arange(31) - 15) * 2.0
    variances = []
    for seed in range(60):
        out = changed(image, seed, blur=1.0, blur_mm=8.0)
        assert out[0].sum() == pytest.approx(1.0, rel=1e-4)
        np.testing.assert_array_equal(out[1], image[1])
        variances.append((out[0].sum(axis=(0, 1)) * z_mm**2).sum())
    fwhm = 2.3548 * np.sqrt(variances)
    assert fwhm.min() < 1.0
    assert 7.0 < fwhm.max() <= 8.05
    assert np.median(fwhm) == pytest.approx(4.0, abs=1.0)


def test_noise_grows_with_the_root_of_the_suv_and_changes_no_mean():
    pet = np.ones((48, 48, 96), np.float32)
    pet[..., 48:] = 16.0
    out = add_noise(pet, np.random.default_rng(0), level=0.1, grain_mm=5.0, spacing_mm=SPACING_MM)
    low, high = out[..., :48], out[..., 48:]
    assert low.std() == pytest.approx(0.1, rel=0.03)
    assert high.std() == pytest.approx(0.4, rel=0.03)
    assert low.mean() == pytest.approx(1.0, abs=0.003)
    assert high.mean() == pytest.approx(16.0, abs=0.01)


def test_noise_is_correlated_over_its_grain_in_millimetres():
    """White noise through a Gaussian of variance s² correlates as exp(-d² / 4s²)."""
    pet = np.full((64, 64, 64), 4.0, np.float32)
    noise = add_noise(pet, np.random.default_rng(1), level=0.1, grain_mm=12.0, spacing_mm=SPACING_MM) - 4.0
    for axis, step_mm in enumerate(SPACING_MM):
        neighbours = np.roll(noise, 1, axis)
        expected = np.exp(-(step_mm**2) / (4 * (2 * SIGMA_MM) ** 2))
        assert np.mean(noise * neighbours) / np.mean(noise**2) == pytest.approx(expected, abs=0.01)


def test_noise_leaves_no_suv_below_zero_and_hardly_any_in_air():
    out = changed(np.zeros((2, 16, 16, 16), np.float32), noise=1.0, noise_level=(0.2, 0.2))
    assert out[0].min() == 0
    assert 0 < out[0].max() < 0.05


def test_noise_levels_are_drawn_from_their_range():
    image = np.full((2, 24, 24, 24), 1.0, np.float32)
    levels = [changed(image, seed, noise=1.0, noise_level=(0.05, 0.2))[0].std() for seed in range(40)]
    assert 0.045 < min(levels) < 0.07
    assert 0.15 < max(levels) < 0.21


def test_moved_shifts_towards_higher_coordinates_and_repeats_the_edge():
    ct = np.random.default_rng(0).normal(0, 300, (6, 5, 7)).astype(np.float32)
    out = move(ct, shift_mm=np.array([4.0, 0.0, -4.0]), degrees=np.zeros(3), spacing_mm=SPACING_MM)
    np.testing.assert_allclose(out[1:, :, :-2], ct[:-1, :, 2:], atol=1e-3)
    np.testing.assert_allclose(out[0, :, :-2], ct[0, :, 2:], atol=1e-3)
    np.testing.assert_allclose(out[1:, :, -1], ct[:-1, :, -1], atol=1e-3)


def test_moved_by_half_a_voxel_is_the_mean_of_two():
    ct = np.zeros((5, 5, 5), np.float32)
    ct[2, 2, 2] = 100
    out = move(ct, shift_mm=np.array([0.0, 2.0, 0.0]), degrees=np.zeros(3), spacing_mm=SPACING_MM)
    assert out[2, 2, 2] == pytest.approx(50)
    assert out[2, 3, 2] == pytest.approx(50)
    assert out.sum() == pytest.approx(100)


def test_moved_turns_rigidly_in_millimetres():
    """A quarter turn about y takes z to x: what lies 8 mm above the middle comes to lie 8 mm beside it."""
    ct = np.zeros((9, 9, 9), np.float32)
    ct[4, 4, 8] = 100  # four steps of 2 mm
    out = move(ct, shift_mm=np.zeros(3), degrees=np.array([0.0, 90.0, 0.0]), spacing_mm=SPACING_MM)
    assert out[6, 4, 4] == pytest.approx(100, abs=0.01)  # two steps of 4 mm
    # And about z, x goes to y.
    ct = np.zeros((9, 9, 9), np.float32)
    ct[7, 4, 4] = 100
    out = move(ct, shift_mm=np.zeros(3), degrees=np.array([0.0, 0.0, 90.0]), spacing_mm=SPACING_MM)
    assert out[4, 7, 4] == pytest.approx(100, abs=0.01)


def test_misalignment_moves_the_ct_within_the_limits_and_leaves_the_pet():
    image = scan((21, 21, 41))
    image[1] = 0
    image[1, 10, 10, 20] = 100
    index = np.indices(image[1].shape)
    shifts_mm = []
    for seed in range(100):
        out = changed(image, seed, misalign=1.0, misalign_mm=(4.0, 4.0, 12.0), misalign_degrees=0.0)
        np.testing.assert_array_equal(out[0], image[0])
        centre = (index * out[1]).sum(axis=(1, 2, 3)) / out[1].sum()
        shifts_mm.append((centre - (10, 10, 20)) * SPACING_MM)
    for axis, limit_mm in enumerate((4.0, 4.0, 12.0)):
        along = np.array(shifts_mm)[:, axis]
        assert 0.8 * limit_mm < along.max() <= limit_mm * 1.001
        assert -0.8 * limit_mm > along.min() >= -limit_mm * 1.001


def test_without_a_ct_there_is_nothing_to_misalign():
    image = scan()[:1]
    settings = AugmentSettings(misalign=1.0)
    out = augment(image, np.random.default_rng(0), settings, spacing_mm=SPACING_MM, channels=Channels.PET)
    np.testing.assert_array_equal(out, image)


def test_gamma_changes_the_pet_between_zero_and_one():
    scaled = np.array([0.0, 0.25, 0.5, 1.0] * 2, np.float32).reshape(2, 4, 1, 1)
    settings = AugmentSettings(gamma=1.0, gamma_range=(2.0, 2.0))
    out = apply_gamma(scaled, np.random.default_rng(0), settings, channels=BOTH)
    assert out[0].ravel().tolist() == [0, 0.0625, 0.25, 1]
    assert out[1].ravel().tolist() == [0, 0.25, 0.5, 1]
    assert scaled[0, 1] == 0.25  # left as it was


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blur": 2.0}, "blur 2, expected a number from 0 to 1"),
        ({"gamma": -0.5}, "gamma -0.5"),
        ({"gamma_range": (1.5, 0.5)}, "gamma_range 1.5 0.5"),
        ({"scale_range": (0.0, 2.0)}, "scale_range 0 2"),
        ({"grain_mm": (1.0, float("inf"))}, "grain_mm 1 inf"),
        ({"blur_mm": -1.0}, "blur_mm -1"),
        ({"misalign_mm": (1.0, -1.0, 1.0)}, "misalign_mm 1 -1 1, expected 0 or more"),
        ({"misalign_degrees": float("nan")}, "misalign_degrees nan"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        AugmentSettings(**settings)
