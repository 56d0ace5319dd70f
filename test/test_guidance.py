"""Guidance channels: encodings of clicks, and their place on the network's grid."""

from __future__ import annotations

import warnings
from itertools import pairwise, permutations, product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_engine import FakeEngine
from monai.networks.layers import GaussianFilter

from swfastedit_core import DataWarning, Geometry, UserError, Volume, segment
from swfastedit_core.box import Box
from swfastedit_core.checkpoint import Channels
from swfastedit_core.click_encodings import DiscEncoding, GaussianEncoding, GradedBallEncoding
from swfastedit_core.clicks import Click, ClickKind, file_voxels
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.guidance import network_voxels, paint_guidance
from swfastedit_core.intensity import RangeIntensity
from swfastedit_core.preprocess import Preprocessing, place, to_network_grid

CPU = torch.device("cpu")
TUMOUR, BACKGROUND = ClickKind.TUMOUR, ClickKind.BACKGROUND
SHAPE = (80, 70, 40)  # tiles of 32 do not divide it


def paint(encoding, tumour, background=(), shape=SHAPE):
    clicks = {TUMOUR: np.array(tumour, np.int64).reshape(-1, 3)}
    clicks[BACKGROUND] = np.array(background, np.int64).reshape(-1, 3)
    return paint_guidance(clicks, shape, encoding)


def dense(guidance, box=None):
    return guidance.cut(box or Box.whole(guidance.shape), CPU)


def monai_channel(clicks, shape, sigma):
    """Filter with MONAI's layer and scale the whole channel from 0 to 1, as the authors do before their threshold."""
    channel = torch.zeros(shape)
    channel[tuple(np.array(clicks).T)] = 1.0
    blurred = GaussianFilter(3, sigma)(channel[None, None])[0, 0]
    return (blurred - blurred.min()) / (blurred.max() - blurred.min())


def random_clicks(rng, shape, number):
    return np.unique(rng.integers(0, shape, (number, 3)), axis=0)


def test_disc_of_one_click_is_the_ball_of_33_voxels():
    channels = dense(paint(DiscEncoding(), [(40, 33, 31)]))
    x, y, z = torch.meshgrid(*(torch.arange(side) for side in SHAPE), indexing="ij")
    ball = (x - 40) ** 2 + (y - 33) ** 2 + (z - 31) ** 2 <= 4
    assert ball.sum() == 33
    assert torch.equal(channels[0], ball.float())
    assert not channels[1].any()


@pytest.mark.parametrize(
    ("encoding", "others", "voxels"),
    [
        (DiscEncoding(), [], 33),
        (DiscEncoding(), [(60, 50, 20), (61, 50, 20)], 27),
        (DiscEncoding(), [(60 + x, 50 + y, 20 + z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)], 0),
        (DiscEncoding(), [(60, 50, 20), *((60 + s, 50, 20) for s in (-1, 1)), *((60, 50 + s, 20) for s in (-1, 1)),
                          *((60, 50, 20 + s) for s in (-1, 1))], 7),
        (DiscEncoding(2.0), [], 341),
    ],
    ids=["alone", "two adjacent", "a cube of 27", "a cross of 7", "sigma 2"],
)  # fmt: skip
def test_clicks_elsewhere_in_the_channel_make_a_disc_smaller(encoding, others, voxels):
    isolated = (20, 15, 15)
    channels = dense(paint(encoding, [isolated, *others], background=[isolated]))
    assert channels[0, :40, :30].sum() == voxels
    assert channels[1].sum() == (33 if encoding.sigma == 1 else 341)  # the other channel has its own maximum


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("shape", [(40, 37, 33), (20, 17, 9), (40, 3, 1), (4, 3, 2), (32, 33, 8)])
def test_disc_and_gaussian_equal_monais_filter(shape, sigma):
    rng = np.random.default_rng(int(sigma) + sum(shape))
    for number in (2, 50):
        clicks = random_clicks(rng, shape, number)
        expected = monai_channel(clicks, shape, sigma)
        assert expected.std() > 0
        gaussian = dense(paint(GaussianEncoding(sigma), clicks, shape=shape))[0]
        torch.testing.assert_close(gaussian, expected, atol=2e-6, rtol=0)
        disc = dense(paint(DiscEncoding(sigma), clicks, shape=shape))[0]
        assert torch.equal(disc, (expected > 0.1).float())


def test_scribble_of_dozens_of_points_equals_monais_filter():
    line = [(10 + i, 8 + i // 2, 20) for i in range(60)]
    expected = monai_channel(line, SHAPE, 1.0)
    assert torch.equal(dense(paint(DiscEncoding(), line))[0], (expected > 0.1).float())


def test_channel_in_which_all_voxels_are_clicked_is_finite():
    everywhere = np.argwhere(np.ones((3, 3, 3)))
    assert torch.isfinite(dense(paint(GaussianEncoding(), everywhere, shape=(3, 3, 3)))).all()
    assert torch.isfinite(dense(paint(GaussianEncoding(), [(0, 0, 0)], shape=(1, 1, 1)))).all()


def test_graded_ball_has_the_values_of_its_authors():
    channel = dense(paint(GradedBallEncoding(), [(40, 33, 31)]))[0]
    assert channel[40, 33, 31] == 1.0
    for neighbour in ((39, 33, 31), (41, 33, 31), (40, 32, 31), (40, 34, 31), (40, 33, 30), (40, 33, 32)):
        assert channel[neighbour].item() == pytest.approx(2 / np.sqrt(10), abs=1e-6)  # 0.632
    rest = channel[channel > 0]
    assert len(rest) == 33
    assert rest.sort().values[:26].tolist() == pytest.approx([np.sqrt(2 / 10)] * 26, abs=1e-6)  # 0.447


def test_graded_balls_that_overlap_keep_the_higher_value():
    both = dense(paint(GradedBallEncoding(), [(31, 33, 31), (33, 33, 31)]))[0]
    alone = [dense(paint(GradedBallEncoding(), [click]))[0] for click in ((31, 33, 31), (33, 33, 31))]
    assert torch.equal(both, torch.maximum(*alone))
    assert both[32, 33, 31].item() == pytest.approx(0.632, abs=1e-3)


def test_graded_ball_of_radius_0_is_the_voxel():
    channel = dense(paint(GradedBallEncoding(0), [(3, 4, 5)]))[0]
    assert channel.sum() == channel[3, 4, 5] == 1.0


@pytest.mark.parametrize("encoding", [DiscEncoding(), GradedBallEncoding(), GaussianEncoding()])
def test_channels_without_clicks_are_empty(encoding):
    guidance = paint(encoding, [])
    assert not dense(guidance).any()
    assert dense(guidance).shape == (2, *SHAPE)
    assert guidance.changed_from(guidance).shape == (0, 3)


@pytest.mark.parametrize("encoding", [DiscEncoding(), GradedBallEncoding(3), GaussianEncoding()])
def test_window_is_a_part_of_the_whole_channels_and_0_beyond_them(encoding):
    rng = np.random.default_rng(5)
    corners = [(0, 0, 0), (79, 69, 39), (0, 69, 0)]
    guidance = paint(encoding, [*corners, *random_clicks(rng, SHAPE, 20)], random_clicks(rng, SHAPE, 20))
    whole = dense(guidance)
    assert 0 < (whole > 0).float().mean() < 0.9
    padded = torch.nn.functional.pad(whole, (50,) * 6)
    for _ in range(20):
        start, sides = rng.integers(-45, SHAPE), rng.integers(1, 45, 3)
        x, y, z = ((slice(a + 50, a + 50 + side)) for a, side in zip(start, sides, strict=True))
        expected = padded[:, x, y, z]
        missing = [side - found for side, found in zip(sides, expected.shape[1:], strict=True)]
        expected = torch.nn.functional.pad(expected, [n for side in reversed(missing) for n in (0, side)])
        assert torch.equal(dense(guidance, Box.at(start, sides)), expected)


@pytest.mark.parametrize("encoding", [DiscEncoding(), GradedBallEncoding(), GaussianEncoding()])
def test_changed_voxels_are_those_that_differ(encoding):
    rng = np.random.default_rng(6)
    tumour, background = random_clicks(rng, SHAPE, 12), random_clicks(rng, SHAPE, 12)
    states = [
        (tumour, background),
        (tumour[:-1], background),
        (tumour[:-1], background[1:]),
        ([], background),
        ([], []),
    ]
    for (one, another), (third, fourth) in pairwise(states):
        first, second = paint(encoding, one, another), paint(encoding, third, fourth)
        expected = np.argwhere((dense(first) != dense(second)).any(dim=0).numpy())
        assert len(expected) > 0
        np.testing.assert_array_equal(second.changed_from(first), expected)
        np.testing.assert_array_equal(first.changed_from(second), expected)


def test_new_maximum_of_a_channel_changes_discs_elsewhere():
    before = paint(DiscEncoding(), [(20, 15, 15), (60, 50, 20)])
    changed = paint(DiscEncoding(), [(20, 15, 15), (60, 50, 20), (61, 50, 20)]).changed_from(before)
    assert (changed[:, 0] < 40).sum() == 33 - 27


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        (lambda: DiscEncoding(0.0), "sigma 0.0 of a click, expected more than 0 and at most 16 voxels"),
        (lambda: DiscEncoding(float("nan")), "sigma nan of a click"),
        (lambda: GaussianEncoding(16.5), "sigma 16.5 of a click"),
        (lambda: GradedBallEncoding(-1), "radius -1 of a click, expected a whole number from 0 to 16 voxels"),
        (lambda: GradedBallEncoding(2.0), "radius 2.0 of a click, expected a whole number"),
        (lambda: GradedBallEncoding(17), "radius 17 of a click"),
    ],
)
def test_sizes_that_cannot_be_painted_are_refused(encoding, message):
    with pytest.raises(UserError) as caught:
        encoding()
    assert str(caught.value).startswith(message)


# From here on: the way from the file's grid to the network's.

AXES = [
    np.array(signs)[:, None] * np.eye(3)[list(order)]
    for order in permutations(range(3))
    for signs in product((1.0, -1.0), repeat=3)
]
OBLIQUE = np.array([[6.0, -3.0, 2.0], [2.0, 6.0, 3.0], [-3.0, -2.0, 6.0]]) / 7
NETWORK_MM = (3.0, 3.5, 4.0)
SPACINGS_MM = [(3.0, 3.5, 4.0), (2.0, 1.5, 2.5), (4.1, 6.0, 3.3)]  # as the network's, finer, coarser
SIZE_XYZ = (13, 10, 11)
ORIENTATIONS = pytest.mark.parametrize("axes", [*AXES, OBLIQUE], ids=[*(f"axes {i}" for i in range(48)), "oblique"])


def grid(axes, spacing_mm):
    return Geometry(SIZE_XYZ, spacing_mm, (-20.5, 33.25, -700.0), tuple(axes.ravel()))


def patient_mm(geometry, index_xyz):
    return index_xyz * geometry.spacing_mm @ geometry.axes_lps.T + geometry.origin_mm


def network_centres(geometry, placement):
    """Return the patient coordinates of the network's voxels, [3, X, Y, Z], by resampling images of coordinates.

    Linear interpolation keeps a linear image. Beyond the file's last voxel it repeats that voxel.
    """
    index_xyz = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.size_xyz), indexing="ij"), axis=-1)
    images = patient_mm(geometry, index_xyz).astype(np.float32)
    coordinates = [Volume(images[..., axis].transpose(2, 1, 0), geometry) for axis in range(3)]
    return np.stack([to_network_grid(image, placement, CPU).numpy() for image in coordinates])


@pytest.mark.parametrize("spacing_mm", SPACINGS_MM)
@ORIENTATIONS
def test_click_is_painted_at_its_place_in_the_patient(axes, spacing_mm):
    geometry = grid(axes, spacing_mm)
    placement = place(geometry, NETWORK_MM)
    centres = network_centres(geometry, placement)
    rng = np.random.default_rng(8)
    for index in [*rng.integers(0, SIZE_XYZ, (3, 3)), np.zeros(3, int), np.array(SIZE_XYZ) - 1]:
        place_mm = patient_mm(geometry, index)
        clicks = [Click(TUMOUR, tuple(index.tolist()))], [Click(TUMOUR, tuple(place_mm.tolist()), "patient")]
        voxels, same = (network_voxels(file_voxels(one, geometry), placement)[TUMOUR] for one in clicks)
        np.testing.assert_array_equal(voxels, same)
        channel = dense(paint(GradedBallEncoding(), voxels, shape=placement.network_shape))[0].numpy()
        ((x, y, z),) = np.argwhere(channel == 1.0)
        distances = np.linalg.norm(centres - place_mm[:, None, None, None], axis=0)
        assert distances[x, y, z] <= distances.min() + 1e-3


class Paints(FakeEngine):
    """A network whose logit is its tumour guidance minus its background guidance minus 0.5."""

    def __init__(self, encoding):
        self.config = SimpleNamespace(
            window=(8, 8, 8),
            channels=Channels.PET_CLICKS,
            clicks=encoding,
            preprocessing=Preprocessing(NETWORK_MM, RangeIntensity(0.0, 1.0)),
        )

    def __call__(self, windows):
        return windows[:, 1] - windows[:, 2] - 0.5


@pytest.mark.parametrize("full_grid", [False, True])
@ORIENTATIONS
def test_click_appears_at_its_voxel_of_the_mask(axes, full_grid):
    spacing_mm = SPACINGS_MM[round(abs(axes.sum()) * 7) % 3]
    geometry = grid(axes, spacing_mm)
    pet = Volume(np.ones(geometry.shape_zyx, np.float32), geometry)
    pet.array_zyx[0, 0, 0] = 2.0
    tumour, background = np.array((9, 3, 7)), np.array((3, 7, 2))
    clicks = [Click(TUMOUR, tuple(tumour.tolist())), Click(BACKGROUND, tuple(background.tolist()))]
    found = segment(pet, Ensemble([Paints(DiscEncoding())]), clicks=clicks, full_grid=full_grid)
    lesion = np.argwhere(found.mask.array_zyx)[:, ::-1]
    assert (lesion == tumour).all(axis=1).any()
    away_mm = np.abs((lesion.mean(axis=0) - tumour) * spacing_mm)
    assert (away_mm <= np.array(NETWORK_MM).max() * 0.75).all()
    assert not found.mask.array_zyx[2, 7, 3]


def test_clicks_on_one_voxel_of_the_network_count_once():
    geometry = grid(np.eye(3), (1.0, 1.0, 1.0))
    placement = place(geometry, (4.0, 4.0, 4.0))
    clicks = [Click(TUMOUR, (x, y, 4)) for x in (3, 4, 5) for y in (4, 5, 6)]
    voxels = network_voxels(file_voxels(clicks, geometry), placement)[TUMOUR]
    assert voxels.tolist() == [[2, 1, 1]]  # (12 - x) / 4, (9 - y) / 4, z / 4


def test_clicks_change_the_result_only_of_networks_that_take_them():
    geometry = grid(np.eye(3), (3.0, 3.5, 4.0))
    pet = Volume(np.ones(geometry.shape_zyx, np.float32), geometry)
    found = segment(pet, Ensemble([Paints(GradedBallEncoding())]), full_grid=True)
    assert found.lesion_voxels == 0
    clicked = segment(pet, Ensemble([Paints(GradedBallEncoding())]), clicks=[Click(TUMOUR, (6, 5, 5))], full_grid=True)
    assert clicked.lesion_voxels == 7  # 1 - 0.5 and 6 × (0.632 - 0.5)
    with pytest.raises(UserError, match=r"the tumour click at voxel \(6, 5, 11\) lies outside the scan"):
        segment(pet, Ensemble([Paints(GradedBallEncoding())]), clicks=[Click(TUMOUR, (6, 5, 11))])


class Automatic(Paints):
    """A network without clicks, which finds nothing."""

    source = "automatic.safetensors"

    def __init__(self):
        super().__init__(None)
        self.config.channels = Channels.PET

    def __call__(self, windows):
        return windows[:, 0] - 1.0


def test_ensemble_in_which_not_all_networks_take_clicks_says_so():
    geometry = grid(np.eye(3), (3.0, 3.5, 4.0))
    pet = Volume(np.zeros(geometry.shape_zyx, np.float32), geometry)
    both = Ensemble([Paints(GradedBallEncoding()), Automatic()])
    clicks = [Click(BACKGROUND, (6, 5, 5))]
    with pytest.warns(DataWarning) as caught:
        segment(pet, both, clicks=clicks, full_grid=True)
    assert [str(one.message) for one in caught] == ["clicks are not used by 1 of 2 network(s): automatic.safetensors"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        segment(pet, both, full_grid=True)
        segment(pet, Ensemble([Paints(GradedBallEncoding())]), clicks=clicks, full_grid=True)
