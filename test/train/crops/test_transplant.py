from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from places import CROPS, real
from scipy import ndimage

from swfastedit_core import Geometry, UserError
from swfastedit_core.checkpoint import Channels
from swfastedit_core.intensity import RangeIntensity
from swfastedit_core.phantom import make_phantom
from swfastedit_core.preprocess import Preprocessing
from swfastedit_core.train.crops.donor import Donor
from swfastedit_core.train.crops.graft import Graft, paste, rescale_to_background
from swfastedit_core.train.crops.transplant import Donors, TransplantSettings, find_tissue, transplant
from swfastedit_core.train.data.sources import Scan, find_sources, read_source
from swfastedit_core.train.store.arrays import Arrays, arrays_of
from swfastedit_core.train.store.case_writer import write_case
from swfastedit_core.train.store.prepared_case import open_case

SPACING_MM = (4.0, 4.0, 4.0)
ALWAYS = TransplantSettings(probability=1.0, max_lesions=1)
NEAR, FAR = 20 / 27, 7 / 27  # weights one and two voxels from a lesion, margin three: s²(3 - 2s) of 2/3 and 1/3
LESION = np.s_[9:12, 9:12, 9:12]


@pytest.fixture
def put(tmp_path):
    """Return a function that puts arrays into the store and opens them."""

    def case(image, label, *, channels=Channels.PET):
        folder = tmp_path / f"{len(list(tmp_path.iterdir())):x}"
        arrays = Arrays(np.asarray(image, np.float16), label.astype(np.uint8), (0, 10), np.zeros((1, 3), np.int32))
        write_case(folder, arrays, key="f00d" * 16, name="someone", channels=channels)
        return open_case(folder, name="someone", patient="p", group="g")

    return case


@pytest.fixture
def donor(put):
    """Return a patient of SUV 1 with a lesion of 27 voxels of SUV 5, a rim of SUV 3 on its high-x side."""
    suv, label = np.ones((20, 20, 20)), np.zeros((20, 20, 20))
    suv[LESION], label[LESION] = 5, 1
    suv[12, 9:12, 9:12] = 3
    return put(suv[None], label)


def cut(case, component=0):
    return Donor(case, component).graft(margin_mm=12.0, spacing_mm=SPACING_MM)


def recipient(suv=2.0, shape=(30, 30, 30), hu=None):
    image = [np.full(shape, suv)] + ([] if hu is None else [np.full(shape, hu)])
    return np.array(image, np.float32), np.zeros(shape, np.uint8)


def pasted(graft, image, label, centre=(15, 15, 15), factor=1.0, tissue=None):
    tissue = np.ones(label.shape, bool) if tissue is None else tissue
    return paste(image, label, graft, centre=centre, factor=factor, tissue=tissue)


# ------------------------------------------------------------------------------------------------------ cutting out


def test_graft_is_the_lesion_with_its_margin(donor):
    graft = cut(donor)
    assert graft.image.shape == (1, 9, 9, 9)
    assert graft.lesion.sum() == 27
    assert graft.lesion[3:6, 3:6, 3:6].all()
    assert graft.weight[:, 4, 4] == pytest.approx([0, FAR, NEAR, 1, 1, 1, NEAR, FAR, 0])
    assert graft.weight[2, 2, 4] == pytest.approx((3 - 2 * (s := 1 - 2**0.5 / 3)) * s**2)
    assert graft.backgrounds == (1.0,)
    assert graft.contrast == 5.0


def test_margin_is_measured_in_millimetres(donor):
    graft = Donor(donor, 0).graft(margin_mm=12.0, spacing_mm=(4.0, 6.0, 12.0))
    assert graft.lesion.shape == (9, 7, 5)
    assert graft.weight[4, :, 2] == pytest.approx([0, 0.5, 1, 1, 1, 0.5, 0])


def test_background_is_taken_beyond_the_blur_of_the_lesion(put):
    suv, label = np.ones((20, 20, 20)), np.zeros((20, 20, 20))
    suv[LESION], label[LESION] = 5, 1
    for axis in range(3):
        for side in (8, 12):
            face = [slice(9, 12)] * 3
            face[axis] = side
            suv[tuple(face)] = 3  # 54 of the 98 voxels within 8 mm, and all of those within 4 mm
    graft = Donor(put(suv[None], label), 0).graft(margin_mm=8.0, spacing_mm=SPACING_MM)
    assert (graft.weight > 0).sum() == 27 + 98
    assert graft.backgrounds == (1.0,)


def test_nothing_of_a_neighbouring_lesion_comes_along(put):
    suv, label = np.ones((1, 20, 20, 20)), np.zeros((20, 20, 20))
    for voxels in (LESION, np.s_[13:16, 9:12, 9:12]):  # one voxel between them
        suv[0][voxels], label[voxels] = 5, 1
    case = put(suv, label)
    graft = cut(case)
    assert graft.lesion.sum() == 27
    assert graft.weight[:, 4, 4] == pytest.approx([0, FAR, NEAR, 1, 1, 1, NEAR * (1 - NEAR), 0, 0])
    image, labels = recipient(suv=1.0)
    assert pasted(graft, image, labels)
    assert labels.sum() == 27
    assert (image[0] > 1).sum() == 27  # no more than the lesion is hot


def test_air_around_the_donor_takes_its_background(put):
    """The lesion lies under the skin: above it there is air, and a CT's field that ends."""
    suv, hu, label = np.ones((20, 20, 20)), np.full((20, 20, 20), 50.0), np.zeros((20, 20, 20))
    suv[LESION], label[LESION] = 5, 1
    suv[..., 12:], hu[..., 12:] = 0, -1024
    graft = cut(put([suv, hu], label, channels=Channels.PET_CT))
    assert graft.backgrounds == (1.0, 50.0)
    assert np.unique(graft.image[0]).tolist() == [1, 5]
    assert np.unique(graft.image[1]).tolist() == [50]


def test_lesions_cut_by_the_edge_of_the_scan_and_large_ones_are_no_donors(put):
    label = np.zeros((20, 20, 20))
    label[0, 5, 5] = label[10, 10, 19] = label[4, 4, 4] = 1
    label[LESION] = 1  # 27 voxels of 0.064 ml are 1.728 ml
    case = put(np.ones((1, 20, 20, 20)), label)
    assert [len(case.components), len(Donors([case], ALWAYS, spacing_mm=SPACING_MM))] == [4, 2]
    small = TransplantSettings(largest_ml=1.7)
    (left,) = Donors([case], small, spacing_mm=SPACING_MM)
    assert left.lesion.sum() == 1


def test_grafts_are_kept_in_memory_as_far_as_allowed(put):
    label = np.zeros((20, 20, 20))
    label[4, 4, 4] = label[12, 12, 12] = label[15, 5, 5] = 1
    case = put(np.ones((1, 20, 20, 20)), label)
    size = cut(case).nbytes
    assert size == 7**3 * (4 + 1 + 4)
    roomy = Donors([case], ALWAYS, spacing_mm=SPACING_MM, cache_bytes=2 * size)
    first, second = roomy[0], roomy[1]
    assert roomy[0] is first
    assert roomy[2].lesion.sum() == 1  # now the second, used longest ago, has gone
    assert roomy[0] is first
    assert roomy[1] is not second
    none = Donors([case], ALWAYS, spacing_mm=SPACING_MM, cache_bytes=0)
    assert none[0] is not none[1]
    assert len(none._cache) == 1


def test_graft_is_turned_into_all_48_orientations_with_everything_in_it():
    image = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    graft = Graft(image, image[0] == 23, image[0] / 23, (1.0,), 5.0)
    rng, seen = np.random.default_rng(0), Counter()
    for _ in range(2400):
        reoriented = graft.reorient(rng)
        np.testing.assert_array_equal(reoriented.image[0] == 23, reoriented.lesion)
        np.testing.assert_allclose(reoriented.image[0] / 23, reoriented.weight)
        assert reoriented.backgrounds == (1.0,)
        seen[reoriented.lesion.shape, reoriented.image.tobytes()] += 1
    assert len(seen) == 48
    assert min(seen.values()) > 20  # of 50


# ---------------------------------------------------------------------------------------------------------- pasting


def test_level_keeps_the_difference_above_and_the_ratio_below():
    suv = np.array([0.0, 0.5, 1.0, 3.0], np.float32)
    assert rescale_to_background(suv, background_suv=1.0, new_background_suv=2.0, factor=1.0).tolist() == [0, 1, 2, 4]
    assert rescale_to_background(suv, background_suv=1.0, new_background_suv=0.5, factor=2.0).tolist() == [
        0,
        0.25,
        0.5,
        4.5,
    ]


def test_pasted_lesion_keeps_its_contrast_and_leaves_no_halo(donor):
    image, label = recipient(suv=2.0)
    assert pasted(cut(donor), image, label)
    inside = np.s_[14:17, 14:17, 14:17]
    assert (image[0][inside] == 6).all()  # 4 above the background, as before
    assert image[0][17, 15, 15] == pytest.approx(2 + NEAR * 2)  # its rim of 2 above the background, by weight
    image[0][inside] = image[0][17, 14:17, 14:17] = 2
    assert image[0] == pytest.approx(2)
    assert label[inside].all()
    assert label.sum() == 27


def test_contrast_is_scaled_by_the_factor(donor):
    image, label = recipient(suv=2.0)
    assert pasted(cut(donor), image, label, factor=0.5)
    assert (image[0][label == 1] == 4).all()


def test_background_is_the_median_of_the_outer_margin(donor):
    image, label = recipient(suv=2.0)
    image[0, 12:19, 12:19, 12:19] = 3  # the lesion and two voxels around it: more than half of the ring
    image[0, 14:17, 14:17, 14:17] = 3.9  # what the lesion replaces does not count
    assert pasted(cut(donor), image, label)
    assert (image[0][label == 1] == 3 + 4).all()


def test_background_is_that_of_the_patient_not_of_the_air_around(donor):
    image, label = recipient(suv=0.0)
    image[0, 13:18, 13:18, 13:18] = 2  # of the outer margin, only the corners of this cube
    assert pasted(cut(donor), image, label, tissue=image[0] > 0)
    assert (image[0][label == 1] == 2 + 4).all()


def test_lesion_at_the_edge_of_the_crop_is_cut_off(donor):
    image, label = recipient()
    assert pasted(cut(donor), image, label, centre=(0, 15, 29))
    assert np.argwhere(label).min(axis=0).tolist() == [0, 14, 28]
    assert np.argwhere(label).max(axis=0).tolist() == [1, 16, 29]
    assert label.sum() == 2 * 3 * 2
    assert image[0, 2, 15, 29] == pytest.approx(2 + NEAR * 2)  # the rim at its end
    assert image[0, 6:].max() == 2


def test_place_in_air_is_refused(donor):
    image, label = recipient()
    before = image.copy()
    tissue = np.ones(label.shape, bool)
    tissue[14:17, 14:17, 16] = False  # a third of the lesion
    assert not pasted(cut(donor), image, label, tissue=tissue)
    np.testing.assert_array_equal(image, before)
    assert not label.any()
    tissue[14:17, 14:17, 16] = True
    tissue[14, 14, 16] = tissue[15, 14, 16] = False  # 2 of 27
    assert pasted(cut(donor), image, label, tissue=tissue)


def test_place_that_touches_a_lesion_is_refused(donor):
    image, label = recipient()
    label[11, 15, 15] = 1  # three voxels from the new lesion: weight 0
    assert pasted(cut(donor), image, label)
    assert label.sum() == 28
    image, label = recipient()
    label[12, 15, 15] = 1
    assert not pasted(cut(donor), image, label)
    assert label.sum() == 1
    assert (image == 2).all()


def test_place_on_a_hot_organ_is_refused(donor):
    image, label = recipient()
    image[0, 15, 15, 15] = 20  # a spot is no organ
    assert pasted(cut(donor), image, label)
    image, label = recipient()
    image[0, :15] = 8  # half of the place
    assert not pasted(cut(donor), image, label)
    assert not label.any()


def test_ct_comes_along_at_its_own_level_but_only_into_the_same_tissue(put):
    suv, hu, label = np.ones((20, 20, 20)), np.full((20, 20, 20), 50.0), np.zeros((20, 20, 20))
    suv[LESION], hu[LESION], label[LESION] = 5, 30, 1
    graft = cut(put([suv, hu], label, channels=Channels.PET_CT))
    image, labels = recipient(hu=-100.0)
    assert pasted(graft, image, labels)
    assert (image[1][labels == 1] == 30).all()
    assert image[1, 17, 15, 15] == pytest.approx(-100 + NEAR * 150)
    assert image[1, 18, 15, 15] == pytest.approx(-100 + FAR * 150)
    assert image[1, 19, 15, 15] == -100
    lung, labels = recipient(hu=-800.0)
    assert not pasted(graft, lung, labels)
    pet_only, labels = recipient()
    assert pasted(graft, pet_only, labels)
    assert (pet_only[0][labels == 1] == 6).all()


def test_donor_without_a_ct_changes_the_pet_alone(donor):
    image, label = recipient(hu=-800.0)
    assert pasted(cut(donor), image, label)
    assert (image[0][label == 1] == 6).all()
    assert (image[1] == -800).all()


# --------------------------------------------------------------------------------------------------------- by chance


NOBODY = SimpleNamespace(folder=None)


def run(image, label, cases, seed=0, *, of=NOBODY, **settings):
    chosen = TransplantSettings(**{"probability": 1.0, "max_lesions": 1, **settings})
    donors = Donors(cases, chosen, spacing_mm=SPACING_MM)
    rng = np.random.default_rng(seed)
    return transplant(image, label, rng, case=of, donors=donors, settings=chosen, spacing_mm=SPACING_MM)


def test_crops_get_lesions_as_often_and_as_many_as_asked(donor):
    image, label = recipient(shape=(60, 60, 60))
    labels = (run(image, label, [donor], seed, probability=0.5, max_lesions=3)[1] for seed in range(300))
    counts = [ndimage.label(new)[1] for new in labels]
    shares = [np.mean(np.array(counts) == n) for n in range(4)]
    assert shares == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6], abs=0.09)  # a few are refused for touching
    assert (image == 2).all()  # left as they were
    assert not label.any()


def test_label_is_where_the_new_uptake_is(donor):
    image, label = recipient(shape=(40, 30, 20))
    for seed in range(30):
        new_image, new_label = run(image, label, [donor], seed, max_lesions=3)
        assert new_image[0][new_label == 1] == pytest.approx(6)
        assert (new_image[0][new_label == 0] < 2 + NEAR * 2 + 1e-3).all()
        assert new_label.any()


def test_lesions_are_laid_everywhere_in_the_patient_and_nowhere_else(donor):
    image, label = recipient(suv=0.0, shape=(40, 24, 24))
    image[0, :20] = 2.0
    middles = []
    for seed in range(200):
        new = run(image, label, [donor], seed)[1]
        middles += [np.argwhere(new).mean(axis=0)] * bool(new.any())
    middles = np.array(middles)
    assert len(middles) > 190
    assert middles[:, 0].max() <= 19  # one of the three layers of voxels may not be in air
    assert (np.ptp(middles, axis=0) > (16, 18, 18)).all()
    assert run(*recipient(suv=0.0), [donor])[1].sum() == 0  # no patient at all


def test_same_seed_gives_the_same_crop(donor):
    one, other, third = (run(*recipient(), [donor], seed, contrast_range=(0.5, 2.0)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])
    assert (one[0] != third[0]).any()


def test_scan_gets_no_lesion_of_its_own(donor):
    assert run(*recipient(), [donor])[1].any()
    assert not run(*recipient(), [donor], of=donor)[1].any()


def test_cold_lesions_can_be_passed_over(put):
    suv, label = np.ones((1, 20, 20, 20)), np.zeros((20, 20, 20))
    suv[0][LESION], label[LESION] = 0.5, 1
    case = put(suv, label)
    assert run(*recipient(), [case])[1].sum() == 27
    assert run(*recipient(), [case], least_contrast=1.0)[1].sum() == 0


def test_without_donors_nothing_happens(put):
    case = put(np.ones((1, 8, 8, 8)), np.zeros((8, 8, 8)))
    image, label = recipient()
    new_image, new_label = run(image, label, [case])
    np.testing.assert_array_equal(new_image, image)
    np.testing.assert_array_equal(new_label, label)


def test_tissue_is_found_in_cells_of_tissue():
    suv = np.zeros((7, 6, 4), np.float32)
    suv[2:, :, :] = 0.3
    suv[0, 0, 0] = 0.7  # 0.0875 on average over its cell of 2³: noise
    tissue = find_tissue(suv, SPACING_MM)
    assert tissue.shape == suv.shape
    assert tissue[2:].all()
    assert not tissue[:2].any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"probability": 1.1}, "--transplant 1.1, expected a number from 0 to 1"),
        ({"max_lesions": 0}, "--max-transplants 0, expected 1 or more"),
        ({"margin_mm": 0.0}, "--margin 0, expected a number above 0"),
        ({"largest_ml": float("nan")}, "--largest-donor nan, expected a number above 0"),
        ({"least_contrast": float("nan")}, "--least-contrast nan, expected 0 or more"),
        ({"contrast_range": (0.0, 1.0)}, "--contrast 0 1, expected"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        TransplantSettings(**settings)


# --------------------------------------------------------------------------------------------------------- real ones


@real(CROPS)
@pytest.mark.parametrize("name", ["STS_019", "STS_002", "STS_025"])
def test_real_lesion_in_a_phantom(name, tmp_path):
    preprocessing = Preprocessing(SPACING_MM, RangeIntensity(0.0, 10.0))
    (source,) = [found for found in find_sources(f"images:{CROPS}", seed=0) if found.case.startswith(name)]
    write_case(tmp_path / "a", arrays_of(read_source(source), preprocessing, Channels.PET), key="f00d" * 16, name=name,
               channels=Channels.PET)  # fmt: skip
    case = open_case(tmp_path / "a", name=name, patient=name, group="sts")
    (component,) = case.components
    graft = cut(case)
    grid = Geometry((96, 64, 96), SPACING_MM, (-190.0, -126.0, -900.0))  # chest and abdomen
    phantom = make_phantom(3, geometry=grid, lesions=0)
    scan = arrays_of(Scan(phantom.pet, phantom.label), preprocessing, Channels.PET)
    before, label = scan.image.astype(np.float32), scan.label
    assert before.shape == (1, 96, 64, 96)
    for seed in range(5):
        (after,), found = run(before, label, [case], seed)
        lesion = found == 1
        if lesion.sum() != component.voxels:  # cut by the edge of the crop
            continue
        away_mm = ndimage.distance_transform_edt(~lesion, sampling=SPACING_MM)
        tissue = find_tissue(before[0], SPACING_MM)
        ring = (away_mm > 6) & (away_mm < 12) & tissue
        level = np.median(before[0][ring])
        contrast = graft.image[0][graft.lesion].max() - graft.backgrounds[0]
        assert after[lesion].max() - level == pytest.approx(contrast, abs=1e-3)
        np.testing.assert_array_equal(after[away_mm >= 12], before[0][away_mm >= 12])
        assert np.median(after[ring]) == pytest.approx(level, rel=0.15)  # no halo
        assert (after >= 0).all()
        break
    else:
        pytest.fail("every lesion was cut by the edge of the crop")
