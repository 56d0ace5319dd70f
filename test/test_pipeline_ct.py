"""CT as a second channel of the networks."""

from __future__ import annotations

import warnings
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_engine import FakeEngine

from swfastedit_core import DataWarning, Geometry, UserError, Volume, segment
from swfastedit_core.checkpoint import Channels
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.intensity import RangeIntensity
from swfastedit_core.network_input import prepare
from swfastedit_core.preprocess import Preprocessing
from swfastedit_core.resample import resample_ct

GRID = Geometry((12, 10, 8), (4.0, 4.0, 4.0), (1.0, 2.0, 3.0), (0, 1, 0, -1, 0, 0, 0, 0, 1))
# The same centres: x of this grid is y of the PET's, y runs against its x.
CT_GRID = Geometry((10, 12, 8), (4.0, 4.0, 4.0), (1.0, -42.0, 3.0))
SUV_0_TO_1 = Preprocessing((4.0, 4.0, 4.0), RangeIntensity(0.0, 1.0))


class Adds(FakeEngine):
    """A network whose logit is the sum of its channels and a constant; it remembers what it saw."""

    def __init__(self, *channels, offset, preprocessing=SUV_0_TO_1):
        self.offset, self.source, self.seen = offset, "adds.safetensors", []
        self.config = SimpleNamespace(
            window=(8, 8, 8), channels=Channels.named(channels), clicks=None, preprocessing=preprocessing
        )

    def __call__(self, windows):
        self.seen.append(windows)
        return windows.sum(dim=1) + self.offset


def warm(value=0.9):
    """Make a PET with a warm block, x 7 and 8, y 3 to 5, z 2 to 4."""
    array = np.zeros(GRID.shape_zyx, np.float32)
    array[2:5, 3:6, 7:9] = value
    return Volume(array, GRID)


def dense(hu, *, background=-1000.0):
    """Make a CT on a grid of its own, dense at x 8 and 9, y 4 and 5, z 0 to 3 of the PET's grid."""
    array = np.full(CT_GRID.shape_zyx, background, np.float32)
    array[0:4, 11 - 9 : 11 - 7, 4:6] = hu
    return Volume(array, CT_GRID)


BOTH = np.zeros(GRID.shape_zyx, np.uint8)
BOTH[2:4, 4:6, 8] = 1  # warm and dense


def test_network_sees_both_channels_at_the_same_place():
    # warm and dense 0.9 + 0.5, warm only 0.9, dense only 0.5
    network = Adds("pet", "ct", offset=-1.2)
    found = segment(warm(), Ensemble([network]), ct=dense(0.0), full_grid=True)
    np.testing.assert_array_equal(found.mask.array_zyx, BOTH)
    assert found.mask.geometry == GRID
    assert {tuple(windows.shape) for windows in network.seen} == {(1, 2, 8, 8, 8)}
    on_its_grid = resample_ct(dense(0.0), GRID)
    same = segment(warm(), Ensemble([Adds("pet", "ct", offset=-1.2)]), ct=on_its_grid, full_grid=True)
    np.testing.assert_array_equal(same.mask.array_zyx, BOTH)


def test_hu_become_what_the_checkpoint_says():
    # -60 of -160 to 240 is 0.25, of -1000 to 1000 it is 0.47: more than 0.2 as well, but less than 0.3
    narrow = replace(SUV_0_TO_1, ct_hu=(-160.0, 240.0))
    for preprocessing, offset, lesions in ((narrow, -1.1, 4), (narrow, -1.2, 0), (SUV_0_TO_1, -1.2, 4)):
        network = Adds("pet", "ct", offset=offset, preprocessing=preprocessing)
        assert segment(warm(), Ensemble([network]), ct=dense(-60.0), full_grid=True).lesion_voxels == lesions


def test_body_and_windows_come_from_the_pet():
    grid = Geometry((60, 60, 40), (4.0, 4.0, 4.0))
    pet = np.zeros(grid.shape_zyx, np.float32)
    pet[:, 4:16, 4:16] = 1.0
    everywhere = Volume(np.zeros(grid.shape_zyx, np.float32), grid)  # water to the edge of the field
    alone = segment(Volume(pet, grid), Ensemble([Adds("pet", offset=0.1)]))
    both = segment(Volume(pet, grid), Ensemble([Adds("pet", "ct", offset=0.1)]), ct=everywhere)
    assert alone.windows < 0.3 * alone.windows_full_grid
    assert both.windows == alone.windows


def test_around_the_image_both_channels_are_air():
    grid = Geometry((4, 4, 4), (4.0, 4.0, 4.0))
    pet, ct = (Volume(np.full(grid.shape_zyx, value, np.float32), grid) for value in (1.0, 1000.0))
    network = Adds("pet", "ct", offset=0.0)
    segment(pet, Ensemble([network]), ct=ct, full_grid=True)
    (window,) = network.seen
    expected = torch.zeros(1, 2, 8, 8, 8)
    expected[:, :, 2:6, 2:6, 2:6] = 1.0
    assert torch.equal(window, expected)


def test_outside_the_cts_field_is_air():
    low = Volume(np.zeros((4, 12, 10), np.float32), replace(CT_GRID, size_xyz=(10, 12, 4)))  # ends at z 3
    network = Adds("pet", "ct", offset=-1.2)
    with pytest.warns(DataWarning, match=r"the CT covers \d\d % of the body"):
        found = segment(warm(), Ensemble([network]), ct=low, full_grid=True).mask.array_zyx
    expected = np.zeros(GRID.shape_zyx, np.uint8)
    expected[2:4, 3:6, 7:9] = 1
    np.testing.assert_array_equal(found, expected)


def test_networks_of_one_and_of_two_channels_are_an_ensemble():
    # warm: 0.3 alone; warm and dense: 0.3 alone and 0.2 with CT; dense: -0.6 and -0.7
    alone, with_ct = Adds("pet", offset=-0.6), Adds("pet", "ct", offset=-1.2)
    vote = segment(warm(), Ensemble([alone, with_ct]), ct=dense(0.0), full_grid=True, majority=True)
    np.testing.assert_array_equal(vote.mask.array_zyx, BOTH)
    assert {windows.shape[1] for windows in alone.seen} == {1}
    assert {windows.shape[1] for windows in with_ct.seen} == {2}
    assert torch.equal(torch.cat(alone.seen)[:, 0], torch.cat(with_ct.seen)[:, 0])
    # warm only: sigmoid 0.574 and 0.426 with offset -1.2, and the mean of 0.5 is no lesion; 0.450 with -1.1 is one
    for offset, lesions in ((-1.21, 4), (-1.1, 18)):
        networks = Ensemble([Adds("pet", "ct", offset=offset), Adds("pet", offset=-0.6)])
        assert segment(warm(), networks, ct=dense(0.0), full_grid=True).lesion_voxels == lesions


def test_preprocessings_with_and_without_ct_do_not_mix():
    coarse = replace(SUV_0_TO_1, spacing_mm=(8.0, 8.0, 8.0))
    alone, with_ct = Adds("pet", offset=-0.6, preprocessing=coarse), Adds("pet", "ct", offset=-1.2)
    segment(warm(), Ensemble([alone, with_ct]), ct=dense(0.0), full_grid=True)
    assert (alone.seen[0].shape[1], with_ct.seen[0].shape[1]) == (1, 2)


def test_network_that_needs_a_ct_is_not_run_without():
    network = Adds("pet", "ct", offset=0.0)
    with pytest.raises(UserError, match=r"^adds\.safetensors: the network takes PET and CT, and no CT was given"):
        segment(warm(), Ensemble([Adds("pet", offset=0.0), network]))
    assert network.seen == []


def test_ct_that_no_network_wants_is_not_looked_at():
    far = Geometry((2, 1, 1), (1.0, 1.0, 1.0), (9e5, 0.0, 0.0))
    elsewhere = Volume(np.zeros(far.shape_zyx, np.float32), far)
    found = segment(warm(), Ensemble([Adds("pet", offset=-0.5)]), ct=elsewhere, full_grid=True)
    assert found.lesion_voxels == 18
    with pytest.raises(UserError, match="without overlap"):
        segment(warm(), Ensemble([Adds("pet", "ct", offset=-0.5)]), ct=elsewhere, full_grid=True)


@pytest.mark.parametrize("on_its_own_grid", [True, False])
def test_voxels_that_nobody_else_holds_are_gone_while_networks_run(on_its_own_grid):
    held, alive = [], []

    def handed_over(volume):
        held.append(weakref.ref(volume.array_zyx))
        return volume

    class Looks(Adds):
        def __call__(self, windows):
            alive.append([voxels() is not None for voxels in held])
            return super().__call__(windows)

    def ct():
        return dense(0.0) if on_its_own_grid else resample_ct(dense(0.0), GRID)

    networks = Ensemble([Looks("pet", "ct", offset=-1.2)])
    found = segment(handed_over(warm()), networks, ct=handed_over(ct()), full_grid=True)
    assert found.lesion_voxels == 4
    assert alive == [[False, False]] * found.windows
    kept = handed_over(warm())
    segment(kept, Ensemble([Looks("pet", offset=-0.5)]), full_grid=True)
    assert alive[-1] == [False, False, True]


@pytest.mark.parametrize(("slices", "share"), [(8, 1.0), (7, 0.875), (6, 0.75), (2, 0.25)])
def test_ct_that_covers_less_than_four_fifths_of_the_body_is_warned_of(slices, share):
    """The body is a block of 20 × 20 × 32 mm; the CT covers `slices` of the PET's eight, from below."""
    array = np.zeros((8, 10, 12), np.float32)
    array[:, 2:7, 2:7] = 1.0
    network = Adds("pet", "ct", offset=-1.2)
    ct = Volume(np.zeros((slices, 12, 10), np.float32), replace(CT_GRID, size_xyz=(10, 12, slices)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        segment(Volume(array, GRID), Ensemble([network]), ct=ct)
    said = [str(one.message) for one in caught if "covers" in str(one.message)]
    expected = f"the CT covers {100 * share:.0f} % of the body in the PET; the rest is taken for air"
    assert said == ([] if share >= 0.8 else [expected])


def test_prepare_aligns_the_ct_by_itself():
    network = Adds("pet", "ct", offset=-1.2)
    prepared = prepare(warm(), Ensemble([network]), ct=dense(0.0))[SUV_0_TO_1]
    aligned = prepare(warm(), Ensemble([network]), ct=resample_ct(dense(0.0), GRID))[SUV_0_TO_1]
    assert torch.equal(prepared.image, aligned.image)
    assert prepared.image.shape[0] == 2
    with pytest.raises(UserError, match="takes PET and CT"):
        prepare(warm(), Ensemble([network]))
