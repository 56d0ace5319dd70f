from __future__ import annotations

import fcntl
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
import torch
from places import CROPS, ROOT, real

from swfastedit_core import Geometry, UserError, Volume, read_label, write_mask, write_volume
from swfastedit_core.box import Box
from swfastedit_core.checkpoint import Channels
from swfastedit_core.errors import DataWarning
from swfastedit_core.intensity import PercentileIntensity, RangeIntensity, scale_intensity
from swfastedit_core.preprocess import Preprocessing, place, to_network_grid
from swfastedit_core.train.data.labels import label_on_grid
from swfastedit_core.train.data.sources import Scan, Source, find_sources
from swfastedit_core.train.store import arrays as content
from swfastedit_core.train.store import atomic_folder as folders
from swfastedit_core.train.store import blosc_file as packed
from swfastedit_core.train.store import case_store as store
from swfastedit_core.train.store import digests
from swfastedit_core.train.store.arrays import Arrays, arrays_of, key_of
from swfastedit_core.train.store.case_store import Store
from swfastedit_core.train.store.case_writer import write_case
from swfastedit_core.train.store.digests import Digests
from swfastedit_core.train.store.folder_lock import locked_folder
from swfastedit_core.train.store.prepared_case import open_case

CPU = torch.device("cpu")
GRID = Geometry((50, 44, 40), (4.0, 4.0, 4.0))
SETTINGS = Preprocessing((3.0, 3.0, 3.0), RangeIntensity(0.0, 10.0))
KEY = "0123456789abcdef" * 4


def scan(seed, *, with_ct=False, grid=GRID):
    """Draw a warm body with noise everywhere, two lesions in it, and a CT of noise."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(grid.shape_zyx)
    label = ((z - 20) ** 2 + (y - 22) ** 2 + (x - 15) ** 2 < 25) | ((abs(z - 30) < 2) & (y == 12) & (x == 30))
    body = (abs(y - 22) < 18) & (abs(x - 25) < 20)
    suv = 1.0 * body + 6.0 * label + rng.gamma(1.0, 0.2, label.shape)
    ct = Volume(rng.normal(0, 300, label.shape).astype(np.float32), grid) if with_ct else None
    return Scan(Volume(suv.astype(np.float32), grid), Volume(label.astype(np.uint8), grid), ct)


def files(folder, seed, **settings):
    """Write a scan; return its source."""
    drawn = scan(seed, with_ct=True, **settings)
    paths = [folder / f"{seed}_{what}.mha" for what in ("pet", "label", "ct")]
    write_volume(drawn.pet, paths[0])
    write_mask(drawn.label, paths[1])
    write_volume(drawn.ct, paths[2])
    return Source(f"case/{seed}", f"patient {seed}", "images:here", *paths)


def case_of(folder, arrays, channels=Channels.PET):
    write_case(folder, arrays, key=KEY, name="someone", channels=channels)
    return open_case(folder, name="someone", patient="p", group="g")


def expected_image(drawn, spacing_mm):
    placement = place(drawn.pet.geometry, spacing_mm)
    volumes = [drawn.pet] if drawn.ct is None else [drawn.pet, drawn.ct]
    return np.stack([to_network_grid(v, placement, CPU).numpy() for v in volumes]).astype(np.float16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def sources(folder):
    return [files(folder, seed) for seed in range(4)]


@pytest.fixture(scope="module")
def prepared(sources, tmp_path_factory):
    """Prepare four cases with CT; return the store's folder and the cases."""
    top = tmp_path_factory.mktemp("store")
    return top, Store(top, SETTINGS, channels=Channels.PET_CT).prepare(sources, workers=2)


# ---------------------------------------------------------------------------------------------------------- crops


def test_crops_are_those_of_the_volume_in_memory(prepared, folder):
    """66 × 58 × 53 voxels: more than a chunk along x, none of the sides a multiple of a block's."""
    rng = np.random.default_rng(0)
    for seed, case in enumerate(prepared[1]):
        drawn = [read_label(folder / f"{seed}_{what}.mha") for what in ("pet", "label")]
        ct = Volume(sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{seed}_ct.mha"))), GRID)
        image = expected_image(Scan(*drawn, ct), SETTINGS.spacing_mm).astype(np.float32)
        label = label_on_grid(drawn[1], place(GRID, SETTINGS.spacing_mm))
        assert case.shape == label.shape == (66, 58, 53)  # 49 steps of 4 mm are 65.3 of 3 mm, and so on
        assert image[1].std() > 100
        boxes = [Box.whole(case.shape), Box((0, 0, 0), (1, 1, 1)), Box((65, 57, 52), (66, 58, 53))]
        boxes += [Box((0, 30, 0), (66, 58, 17)), Box((63, 15, 16), (65, 17, 33)), Box((48, 0, 37), (66, 20, 53))]
        for _ in range(30):
            start, stop = np.sort([rng.integers(0, case.shape), rng.integers(1, np.array(case.shape) + 1)], axis=0)
            boxes.append(Box(tuple(start.tolist()), tuple(np.maximum(stop, start + 1).tolist())))
        for box in boxes:
            crop, mask = case.read(box)
            assert (crop.dtype, mask.dtype) == (np.float32, np.uint8)
            np.testing.assert_array_equal(crop, image[:, *box.slices])
            np.testing.assert_array_equal(mask, label[box.slices])


def test_values_orientation_and_scale_by_hand(tmp_path):
    suv = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    suv[0, 0, 0] = 1e6  # beyond float16
    label = np.zeros((2, 3, 4), np.uint8)
    label[1, 0, 3] = 1
    grid = Geometry((4, 3, 2), (2.0, 2.0, 2.0))  # x runs to the patient's left, y to the back
    percent = Preprocessing((2.0, 2.0, 2.0), PercentileIntensity(0.0, 50.0))
    arrays = arrays_of(Scan(Volume(suv, grid), Volume(label, grid)), percent, Channels.PET)
    case = case_of(tmp_path / "a", arrays)
    image, mask = case.read(Box.whole((4, 3, 2)))
    assert image.shape == (1, 4, 3, 2)
    assert image[0, 0, 0, 0] == suv[0, 2, 3] == 11  # right, back, below ... R, A, S count from left, back, feet
    assert image[0, 3, 2, 1] == suv[1, 0, 0] == 12
    assert image[0, 3, 2, 0] == 65504
    assert np.argwhere(mask).tolist() == [[0, 2, 1]]
    # 1 to 23 and a million: the lowest of 24 values, and the mean of the 12th and the 13th
    assert case.suv_scale == (1.0, 12.5)
    assert [(c.box, c.voxels, c.sample.tolist()) for c in case.components] == [
        (Box((0, 2, 1), (1, 3, 2)), 1, [[0, 2, 1]])
    ]


def test_scale_is_the_one_of_inference():
    drawn = scan(1)
    suv = to_network_grid(drawn.pet, place(GRID, SETTINGS.spacing_mm), CPU)
    for intensity in (PercentileIntensity(), RangeIntensity(0.5, 7.0)):
        low, high = arrays_of(drawn, replace(SETTINGS, intensity=intensity), Channels.PET).suv_scale
        np.testing.assert_allclose(scale_intensity(suv, intensity), ((suv - low) / (high - low)).clip(0, 1), atol=1e-6)
    assert (low, high) == (0.5, 7.0)


def test_a_crop_beyond_the_volume_is_an_error(prepared):
    for start, stop in (((-1, 0, 0), (4, 4, 4)), ((0, 0, 50), (4, 4, 54)), ((4, 4, 4), (4, 8, 8))):
        with pytest.raises(ValueError, match=r"expected one within \(66, 58, 53\)"):
            prepared[1][0].read(Box(start, stop))


def test_a_crop_needs_only_its_own_part_of_the_file(tmp_path):
    """Noise does not compress: of 4 MB the crop's chunk is an eighth. All between it and the last is overwritten."""
    noise = np.random.default_rng(0).integers(0, 2**16, (1, 128, 128, 128), dtype=np.uint16)
    (tmp_path / "noise.b2nd").write_bytes(packed.pack(noise))
    content_ = bytearray((tmp_path / "noise.b2nd").read_bytes())
    assert len(content_) > noise.nbytes
    content_[600_000:4_000_000] = bytes(3_400_000)
    (tmp_path / "holes.b2nd").write_bytes(content_)
    corner = (slice(None), *(slice(0, 64),) * 3)
    np.testing.assert_array_equal(packed.read_part(tmp_path / "holes.b2nd", corner), noise[corner])
    with pytest.raises(OSError, match="Error"):
        packed.read_part(tmp_path / "holes.b2nd", (slice(None),) * 4)


def test_small_crop_takes_a_small_part_of_the_time(tmp_path):
    noise = np.random.default_rng(0).gamma(1, 1, (1, 256, 256, 192)).astype(np.float16)
    (tmp_path / "noise.b2nd").write_bytes(packed.pack(noise))

    def seconds(*sides):
        begin, taken = time.process_time(), []
        for _ in range(5):
            packed.read_part(tmp_path / "noise.b2nd", (slice(0, 1), *(slice(40, 40 + side) for side in sides)))
            taken.append(time.process_time() - begin)
            begin = time.process_time()
        return min(taken)

    assert seconds(64, 64, 64) < 0.2 * seconds(216, 216, 152)  # 27 times as many voxels


@pytest.mark.long
def test_memory_and_open_files_stay_level_over_thousands_of_reads(prepared):
    process, rng = psutil.Process(), np.random.default_rng(0)

    def read(times):
        for _ in range(times):
            case = prepared[1][rng.integers(4)]
            start = rng.integers(0, np.array(case.shape) - 40)
            case.read(Box(tuple(start.tolist()), tuple((start + 40).tolist())))
            assert len(case.body[rng.integers(len(case.body))]) == 3
            assert case.components[0].sample[0].any()
        return process.memory_info().rss / 1e6, process.num_fds()

    early_mb, early_files = read(200)
    late_mb, late_files = read(1800)
    assert late_mb - early_mb < 4
    assert late_files == early_files


def test_a_thousand_cases_cost_little_memory(tmp_path):
    """As many as the largest public set has, each with 60 lesions: on average it has fewer than ten."""
    label = np.zeros((96, 96, 96), np.uint8)
    for lesion in range(60):
        x, y, z = np.unravel_index(lesion, (4, 4, 4))
        label[x * 24 : x * 24 + 9, y * 24 : y * 24 + 9, z * 24 : z * 24 + 9] = 1  # 729 voxels
    body = np.argwhere(np.ones((28, 28, 26))).astype(np.int32)[:20_000]
    case = case_of(tmp_path / "a", Arrays(np.zeros((1, 96, 96, 96), np.float16), label, (0.0, 1.0), body))
    assert [len(component.sample) for component in case.components] == [512] * 60
    process = psutil.Process()
    before = process.memory_info().rss
    cases = [open_case(tmp_path / "a", name=str(i), patient="p", group="g") for i in range(1014)]
    for opened in cases:
        assert opened.body.sum() == body.sum()
        assert all(component.sample.any() for component in opened.components[:3])
    assert (process.memory_info().rss - before) / 1e6 < 100
    assert len(pickle.dumps(case)) < 8000


def test_a_case_goes_to_another_process(prepared):
    case = prepared[1][2]
    again = pickle.loads(pickle.dumps(case))
    box = Box((3, 4, 5), (20, 21, 22))
    np.testing.assert_array_equal(again.read(box)[0], case.read(box)[0])
    np.testing.assert_array_equal(again.components[1].sample, case.components[1].sample)
    assert (again.name, again.patient, again.group) == ("case/2", "patient 2", "images:here")


# ---------------------------------------------------------------------------------------------------------- samples


def test_sample_of_a_large_lesion_is_spread_over_it(tmp_path):
    label = np.zeros((40, 40, 40), np.uint8)
    label[10:30, 5:35, 20:24] = 1
    arrays = Arrays(np.zeros((1, 40, 40, 40), np.float16), label, (0.0, 1.0), np.zeros((1, 3), np.int32))
    (component,) = case_of(tmp_path / "a", arrays).components
    assert (component.box, component.voxels) == (Box((10, 5, 20), (30, 35, 24)), 2400)
    sample = component.sample
    assert sample.dtype == np.int32
    assert len(np.unique(sample, axis=0)) == 512
    assert label[tuple(sample.T)].all()
    # Standard errors of the means of 512 of 2,400: 5.8, 8.7 and 1.1 divided by 22.6, and less
    np.testing.assert_allclose(sample.mean(axis=0), (19.5, 19.5, 21.5), atol=1.0)
    (again,) = case_of(tmp_path / "b", arrays).components
    np.testing.assert_array_equal(sample, again.sample)


def test_body_is_spread_over_the_patient():
    """The body spans voxels 6 to 44 along x and 5 to 39 along y of 4 mm, mirrored; cells have 3 voxels of 3 mm."""
    suv = np.zeros(GRID.shape_zyx, np.float32)
    suv[:, 5:40, 6:45] = 1
    body = arrays_of(Scan(Volume(suv, GRID), Volume(np.zeros_like(suv), GRID)), SETTINGS, Channels.PET).body
    assert body.dtype == np.int32
    inside = ((49 - 44) * 4 / 3 - 3, (43 - 39) * 4 / 3 - 3), ((49 - 6) * 4 / 3 + 3, (43 - 5) * 4 / 3 + 3)
    assert (body[:, :2] >= inside[0]).all()
    assert (body[:, :2] <= inside[1]).all()
    assert len(np.unique(body, axis=0)) == len(body) > 0.8 * 39 * 35 * 40 * 4**3 / 9**3


def test_body_of_more_than_20000_cells_is_thinned_evenly():
    """Blocks of 4 mm: a cell has 2 × 2 × 2 voxels, of 60 × 60 × 60 voxels 27,000."""
    grid = Geometry((60, 60, 60), (4.0, 4.0, 4.0))
    warm = Scan(Volume(np.full((60, 60, 60), 2.0, np.float32), grid), Volume(np.zeros((60, 60, 60), np.uint8), grid))
    body = arrays_of(warm, Preprocessing((4.0, 4.0, 4.0)), Channels.PET).body
    assert len(np.unique(body, axis=0)) == len(body) == 20_000
    octants = np.bincount((body >= 30) @ (4, 2, 1))
    assert octants.min() > 0.98 * 2500
    assert octants.max() < 1.02 * 2500


def test_empty_scan_has_its_middle_as_body():
    grid = Geometry((11, 9, 8), (4.0, 4.0, 4.0))
    air = Scan(Volume(np.zeros((8, 9, 11), np.float32), grid), Volume(np.zeros((8, 9, 11), np.uint8), grid))
    arrays = arrays_of(air, Preprocessing((4.0, 4.0, 4.0)), Channels.PET)
    assert arrays.body.tolist() == [[5, 4, 4]]
    assert arrays.suv_scale == (0.0, 1.0)


# ---------------------------------------------------------------------------------------------------------- keys


def key(source, preprocessing=SETTINGS, channels=Channels.PET):
    return key_of(source, preprocessing, channels, digest_of=Digests().of)


def test_key_changes_with_all_that_changes_a_case(sources, folder):
    source = sources[0]
    phantom = Source("p", "p", "phantom:1", phantom_seed=1)
    keys = [
        key(source),
        key(replace(source, pet=sources[1].pet)),
        key(replace(source, label=sources[1].pet)),
        key(replace(source, lesion_labels=(1,))),
        key(replace(source, lesion_labels=(1, 2))),
        key(replace(source, label_grid="any")),
        key(replace(source, form="qform")),
        key(replace(source, form="sform")),
        key(source, replace(SETTINGS, spacing_mm=(3.0, 3.0, 3.1))),
        key(source, replace(SETTINGS, intensity=RangeIntensity(0.0, 10.1))),
        key(source, replace(SETTINGS, intensity=PercentileIntensity(0.0, 10.0))),
        key(source, replace(SETTINGS, ct_hu=(-900.0, 1000.0))),
        key(source, channels=Channels.PET_CT),
        key(replace(source, ct=sources[1].ct), channels=Channels.PET_CT),
        key(phantom),
        key(replace(phantom, phantom_seed=2)),
    ]
    assert len(set(keys)) == len(keys)
    same = [
        key(replace(source, case="x", patient="y", group="z")),
        key(replace(source, ct=sources[1].ct)),  # not looked at without the channel
        key(replace(source, pet=folder / ".." / folder.name / source.pet.name)),
    ]
    assert set(same) == {keys[0]}
    assert key(replace(source, lesion_labels=(2, 1, 2))) == keys[4]


def test_key_changes_with_the_code_of_phantoms_and_the_format(monkeypatch):
    phantom = Source("p", "p", "phantom:1", phantom_seed=1)
    before = key(phantom)
    monkeypatch.setattr(content, "_phantom_version", lambda: "of tomorrow")
    tomorrow = key(phantom)
    monkeypatch.setattr(content, "FORMAT", content.FORMAT + 1)
    assert len({before, tomorrow, key(phantom)}) == 3


def test_key_is_unknown_where_a_file_is():
    lost = Source("c", "p", "g", pet=Path("nowhere.mha"), label=Path("nowhere.mha"))
    assert key_of(lost, SETTINGS, Channels.PET, digest_of=Digests().recall) is None
    with pytest.raises(UserError, match=r"nowhere.mha: cannot be read"):
        key(lost)


def test_digests_are_remembered_until_size_or_time_changes(tmp_path, monkeypatch):
    file, memory = tmp_path / "file", tmp_path / "digests.json"
    file.write_bytes(b"abc")
    known = Digests()
    # From FIPS 180-2, appendix B.1
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert known.recall(file) is None
    assert known.of(file) == abc
    known.save(memory)
    known = Digests.load(memory)
    with monkeypatch.context() as patched:
        patched.setattr(digests.hashlib, "file_digest", lambda *_: pytest.fail("was read again"))
        assert known.recall(file) == known.of(file) == abc
    stamp = file.stat().st_mtime_ns
    file.write_bytes(b"abd")
    os.utime(file, ns=(stamp + 1, stamp + 1))
    assert known.recall(file) is None
    assert known.of(file) != abc
    memory.write_text('{"file": [1, 2')
    assert Digests.load(memory).recall(file) is None


# ---------------------------------------------------------------------------------------------------------- store


@pytest.fixture
def in_this_process(monkeypatch):
    """Prepare without other processes, which take seconds to start."""
    monkeypatch.setattr(store, "map_isolated", lambda work, items, **_: enumerate(map(work, items)))


def lines_of(top, sources, settings=SETTINGS, channels=Channels.PET_CT, workers=2):
    lines: list[str] = []
    cases = Store(top, settings, channels=channels).prepare(sources, workers=workers, progress=lines.append)
    return cases, [line for line in lines if line.startswith("prepared ")]


def test_cases_come_in_order_and_are_not_prepared_twice(prepared, sources, monkeypatch):
    top, cases = prepared
    assert [case.name for case in cases] == ["case/0", "case/1", "case/2", "case/3"]
    assert [len(case.components) for case in cases] == [2, 2, 2, 2]
    monkeypatch.setattr(store, "map_isolated", lambda *_, **__: pytest.fail("was prepared again"))
    renamed = [replace(source, case="another", patient="name") for source in reversed(sources)]
    again, lines = lines_of(top, renamed)
    assert lines == []
    assert [case.folder for case in again] == [case.folder for case in reversed(cases)]
    assert {(case.name, case.patient) for case in again} == {("another", "name")}


def test_another_content_or_setting_gets_its_own_data(tmp_path, in_this_process):
    """The file is written anew with the same number of bytes and a time in the past."""
    source = files(tmp_path, 7)
    ones = np.ones(GRID.shape_zyx, np.float32)
    ones[0, 0, 0] = 0
    for value in (3.0, 2.0):  # uncompressed, so that both have the same size
        image = sitk.GetImageFromArray(np.float32(value) * ones)
        image.SetSpacing(GRID.spacing_mm)
        sitk.WriteImage(image, str(tmp_path / f"{value}.mha"), useCompression=False)
    one, two = ((tmp_path / f"{value}.mha").read_bytes() for value in (3.0, 2.0))
    assert len(one) == len(two)
    assert source.pet
    source.pet.write_bytes(one)
    other = replace(source, case="other", lesion_labels=(2,))
    (first, unmarked), lines = lines_of(tmp_path / "store", [source, other], channels=Channels.PET)
    assert len(lines) == 2
    assert (first.read(Box((5, 5, 5), (6, 6, 6)))[0], len(first.components)) == (3.0, 2)
    assert unmarked.components == ()
    source.pet.write_bytes(two)
    os.utime(source.pet, ns=(10**18, 10**18))
    wider = replace(SETTINGS, intensity=RangeIntensity(0.0, 20.0))
    (second,), lines = lines_of(tmp_path / "store", [source], wider, channels=Channels.PET)
    assert len(lines) == 1
    assert second.read(Box((5, 5, 5), (6, 6, 6)))[0] == 2.0
    assert (first.suv_scale, second.suv_scale) == ((0.0, 10.0), (0.0, 20.0))
    assert first.read(Box((5, 5, 5), (6, 6, 6)))[0] == 3.0  # both share the folder


def test_touched_file_is_read_again_but_not_prepared_again(prepared, sources, in_this_process):
    top, cases = prepared
    image = cases[3].folder / "image.b2nd"
    made = image.stat().st_mtime_ns
    os.utime(sources[3].pet, ns=(10**18, 10**18))
    lines: list[str] = []
    Store(top, SETTINGS, channels=Channels.PET_CT).prepare(sources, workers=1, progress=lines.append)
    assert lines == ["3 of 4 cases were prepared before", "found case/3: 66×58×53, lesions: 2; 4/4"]
    assert image.stat().st_mtime_ns == made


def flip(path, position=-40):
    """Change one byte, and with it the time of modification."""
    content_ = bytearray(path.read_bytes())
    content_[position] ^= 1
    path.write_bytes(content_)


def test_damaged_cases_are_prepared_anew(tmp_path, in_this_process):
    grid = Geometry((20, 20, 20), (4.0, 4.0, 4.0))
    sources = [files(tmp_path, seed, grid=grid) for seed in range(10, 19)]
    cases, _ = lines_of(tmp_path / "store", sources)
    intact = [(*case.read(Box.whole(case.shape)), case.body.copy(), case.suv_scale) for case in cases]
    damage = [
        lambda folder: flip(folder / "image.b2nd", 3000),
        lambda folder: flip(folder / "points.npy"),
        lambda folder: (folder / "case.json").write_text((folder / "case.json").read_text().replace("10.0", "11.0")),
        lambda folder: os.truncate(folder / "image.b2nd", 1000),
        lambda folder: os.truncate(folder / "case.json", 100),
        lambda folder: os.truncate(folder / "label.b2nd", 0),
        lambda folder: (folder / "points.npy").unlink(),
        lambda folder: (folder / "case.json").unlink(),
    ]
    for case, break_it in zip(cases, damage, strict=False):  # the last one is left as it is
        break_it(case.folder)
    again, lines = lines_of(tmp_path / "store", sources)
    assert sorted(line.split()[1] for line in lines) == [f"case/{seed}:" for seed in range(10, 18)]
    for case, (image, label, body, scale) in zip(again, intact, strict=True):
        np.testing.assert_array_equal(case.read(Box.whole(case.shape))[0], image)
        np.testing.assert_array_equal(case.read(Box.whole(case.shape))[1], label)
        np.testing.assert_array_equal(case.body, body)
        assert case.suv_scale == scale == (0.0, 10.0)


def test_case_that_is_damaged_while_in_use_is_named(tmp_path):
    arrays = arrays_of(scan(0), SETTINGS, Channels.PET)
    case = case_of(tmp_path / "abc", arrays)
    intact = (case.folder / "image.b2nd").read_bytes()
    for damaged in (intact[:5000], b"", bytes(len(intact))):
        (case.folder / "image.b2nd").write_bytes(damaged)
        with pytest.raises(UserError, match=r"abc: the prepared case cannot be read .*; remove this folder"):
            case.read(Box.whole(case.shape))
    os.truncate(case.folder / "points.npy", 200)
    with pytest.raises(UserError, match=r"abc: the prepared case cannot be read"):
        _ = case.body
    (case.folder / "label.b2nd").unlink()
    (case.folder / "image.b2nd").write_bytes(intact)
    with pytest.raises(UserError, match=r"abc: the prepared case cannot be read"):
        case.read(Box.whole(case.shape))
    flip(case.folder / "case.json")
    with pytest.raises(UserError, match=r"no case.json, or a damaged one"):
        open_case(case.folder, name="n", patient="p", group="g")


KILLED_IN_WRITING = """
import os, signal, sys
from pathlib import Path
from swfastedit_core.train.store import atomic_folder as folders
calls = []
def fsync(number):
    calls.append(number)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
folders.os.fsync = fsync
folders.put_folder(Path(sys.argv[1]), {name: b"12345" for name in "abcd"})
"""


def test_killed_writing_leaves_nothing_that_is_taken_for_whole(tmp_path):
    target = tmp_path / "0123abcd"
    done = subprocess.run([sys.executable, "-c", KILLED_IN_WRITING, target], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert sorted(path.name for path in left.iterdir()) == ["a", "b", "c"]
    mine = [tmp_path / ".ssh", tmp_path / ".notes.partial", tmp_path / "0123abce"]
    for path in mine:
        path.mkdir()
    folders.remove_unfinished(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(mine)


def test_failed_writing_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders.os, "fsync", full)
    with pytest.raises(UserError, match=r"abc: the case someone cannot be written \(No space left on device\); free"):
        case_of(tmp_path / "abc", arrays_of(scan(0), SETTINGS, Channels.PET))
    assert list(tmp_path.iterdir()) == []


def test_case_that_is_there_is_kept(tmp_path):
    """Another process had the same content, and has opened what it wrote."""
    arrays = arrays_of(scan(0), SETTINGS, Channels.PET)
    case = case_of(tmp_path / "abc", arrays)
    before = case.read(Box.whole(case.shape))[0]
    case_of(tmp_path / "abc", replace(arrays, image=arrays.image * 0))
    assert [path.name for path in tmp_path.iterdir()] == ["abc"]
    np.testing.assert_array_equal(case.read(Box.whole(case.shape))[0], before)


@pytest.mark.long
def test_the_same_content_twice_is_one_case(tmp_path):
    source = files(tmp_path, 50)
    twins = [source, replace(source, case="twin", group="elsewhere")]
    (one, other), _ = lines_of(tmp_path / "store", twins)
    assert one.folder == other.folder
    assert (one.name, other.name, other.group) == ("case/50", "twin", "elsewhere")
    assert len([path for path in (tmp_path / "store").iterdir() if path.is_dir()]) == 1


PREPARE = """
import sys
from pathlib import Path
from swfastedit_core.checkpoint import Channels
from swfastedit_core.intensity import RangeIntensity
from swfastedit_core.preprocess import Preprocessing
from swfastedit_core.train.data.sources import Source
from swfastedit_core.train.store.case_store import Store

if __name__ == "__main__":
    top, folder, first, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    sources = [
        Source(f"case/{i}", "p", "g", *(folder / f"{i}_{what}.mha" for what in ("pet", "label", "ct")))
        for i in range(first, last)
    ]
    settings = Preprocessing((3.0, 3.0, 3.0), RangeIntensity(0.0, 10.0))
    cases = Store(top, settings, channels=Channels.PET_CT).prepare(
        sources, workers=1, progress=lambda line: print(line, flush=True)
    )
    print(*(case.folder.name for case in cases))
"""


def preparing(script, *arguments):
    script.write_text(PREPARE)
    return subprocess.Popen(
        [sys.executable, script, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.long
def test_killed_preparation_is_completed_by_the_next(tmp_path):
    sources = [files(tmp_path, seed) for seed in range(20, 26)]
    run = preparing(tmp_path / "prepare.py", tmp_path / "store", tmp_path, 20, 26)
    assert run.stdout
    first = run.stdout.readline()
    assert first.startswith("prepared case/20: 66×58×53, lesions: 2; 1/6")
    workers = psutil.Process(run.pid).children(recursive=True)
    run.kill()
    run.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    unfinished = tmp_path / "store" / ".0123456789abcdef.01234567.partial"
    unfinished.mkdir()
    (unfinished / "image.b2nd").write_bytes(b"half of it")
    cases, lines = lines_of(tmp_path / "store", sources)
    assert 1 <= len(lines) <= 5
    assert "case/20:" not in {line.split()[1] for line in lines}
    for seed, case in zip(range(20, 26), cases, strict=True):
        image = expected_image(scan(seed, with_ct=True), SETTINGS.spacing_mm)
        np.testing.assert_array_equal(case.read(Box.whole(case.shape))[0], image.astype(np.float32))
    assert not unfinished.exists()
    names = {path.name for path in (tmp_path / "store").iterdir()}
    assert names == {"lock", "digests.json", *(case.folder.name for case in cases)}


@pytest.mark.long
def test_two_runs_share_the_work_on_one_store(tmp_path):
    sources = [files(tmp_path, seed) for seed in range(30, 34)]
    runs = [preparing(tmp_path / "prepare.py", tmp_path / "store", tmp_path, 30, 34) for _ in range(2)]
    said = [run.communicate(timeout=180)[0].splitlines() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    done = [line.split()[1] for lines in said for line in lines if line.startswith("prepared ")]
    assert sorted(done) == ["case/30:", "case/31:", "case/32:", "case/33:"]  # each by one of them
    assert said[0][-1] == said[1][-1]
    for seed, case in zip(range(30, 34), lines_of(tmp_path / "store", sources)[0], strict=True):
        image = expected_image(scan(seed, with_ct=True), SETTINGS.spacing_mm)
        np.testing.assert_array_equal(case.read(Box.whole(case.shape))[0], image.astype(np.float32))


def test_run_waits_for_another_that_prepares(prepared, sources, tmp_path):
    """A lock that is held by an open file here is given free as soon as the other run says that it waits."""
    top = tmp_path / "store"
    top.mkdir()
    with (top / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lines: list[str] = []

        def say(line):
            lines.append(line)
            fcntl.flock(file, fcntl.LOCK_UN)

        with locked_folder(top, say=say) as is_locked:
            assert is_locked
            assert lines == [f"another run prepares cases in {top}; waiting for it"]


def test_process_that_is_killed_is_named_with_its_case(tmp_path):
    source = files(tmp_path, 40)
    over = threading.Event()

    def kill_workers():
        while not over.wait(0.05):
            for child in psutil.Process().children():
                if any("spawn_main" in word for word in child.cmdline()):
                    child.kill()

    killer = threading.Thread(target=kill_workers)
    killer.start()
    try:
        with pytest.raises(UserError, match=r"case/40: .* ran out of memory or was killed; use fewer --preparers"):
            lines_of(tmp_path / "store", [source], workers=1)
    finally:
        over.set()
        killer.join()


def test_want_of_memory_is_named_with_its_case(tmp_path, monkeypatch, sources, in_this_process):
    def no_memory(*_, **__):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    monkeypatch.setattr(store, "read_source", no_memory)
    here = Store(tmp_path, SETTINGS, channels=Channels.PET)
    with pytest.raises(UserError, match=r"case/1: .* use fewer --preparers"):
        here.prepare(sources[1:2], workers=1)


def test_file_that_changes_while_a_case_is_prepared_is_refused(tmp_path, monkeypatch, in_this_process):
    source = files(tmp_path, 41)

    def read_slowly(source, **_):
        os.utime(source.pet, ns=(10**18, 10**18))
        return scan(41)

    monkeypatch.setattr(store, "read_source", read_slowly)
    with pytest.raises(UserError, match="case/41: a file changed while it was read"):
        Store(tmp_path / "store", SETTINGS, channels=Channels.PET).prepare([source], workers=1)
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["lock"]


@pytest.mark.long
def test_warnings_and_errors_of_a_case_reach_the_user(tmp_path):
    source = files(tmp_path, 42)
    hot = scan(42).pet
    write_volume(Volume(hot.array_zyx * 1000, GRID), source.pet)
    with pytest.warns(DataWarning, match=r"42_pet.mha: maximum .* is the file in Bq/ml"):
        lines_of(tmp_path / "store", [source], channels=Channels.PET, workers=1)
    missing = replace(source, label=tmp_path / "none.mha")
    with pytest.raises(UserError, match=r"none.mha: cannot be read \(No such file or directory\)"):
        lines_of(tmp_path / "store", [missing], channels=Channels.PET, workers=1)


def test_folder_and_channels_that_cannot_be_are_refused(tmp_path, sources):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match=r"file/store: cases cannot be written there \(Not a directory\)"):
        lines_of(tmp_path / "file" / "store", sources[:1])
    with pytest.raises(UserError, match=r"channels .*guidance.*, expected pet, or pet and ct"):
        Store(tmp_path, SETTINGS, channels=Channels.PET_CLICKS)


@pytest.mark.long
def test_phantoms_are_prepared_without_files(tmp_path, in_this_process):
    (source,) = find_sources("phantom:1", seed=33)
    coarse = Preprocessing((8.0, 8.0, 8.0))
    (case,), _ = lines_of(tmp_path, [source], coarse, channels=Channels.PET, workers=1)
    assert case.name == "phantom_33_0000"
    drawn = store.read_source(source)
    image = expected_image(drawn, coarse.spacing_mm).astype(np.float32)
    np.testing.assert_array_equal(case.read(Box.whole(case.shape))[0], image)


@real(CROPS)
def test_real_lesions_keep_their_volume(tmp_path, in_this_process):
    sources = find_sources(f"images:{CROPS}", seed=0)[:3]
    cases, _ = lines_of(tmp_path, sources, Preprocessing(), channels=Channels.PET)
    for source, case in zip(sources, cases, strict=True):
        label = read_label(source.label)
        millilitres = (label.array_zyx > 0).sum() * label.geometry.voxel_ml
        found_ml = sum(c.voxels for c in case.components) * np.prod(Preprocessing().spacing_mm) / 1000
        assert found_ml == pytest.approx(millilitres, rel=0.02)
