from __future__ import annotations

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from places import CROPS, real

from swfastedit_core import Geometry, UserError, Volume, read_label, write_volume
from swfastedit_core.phantom import command as phantom_command
from swfastedit_core.phantom import make_phantom
from swfastedit_core.train.data import sources
from swfastedit_core.train.data.layouts import Search
from swfastedit_core.train.data.sources import Source, find_sources, find_test_set, read_source
from swfastedit_core.volume import AIR_HU

GRID = Geometry((5, 4, 3), (4.0, 4.0, 2.0), (-8.0, 10.0, -30.0))
SUV = np.arange(60, dtype=np.float32).reshape(3, 4, 5) / 10


def tree(folder, *names):
    """Make empty files: to list a data set, none is opened."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def listed(layout, folder, **more):
    """List a data set as (case, patient, pet, label, ct), files by their names below the folder."""

    def below(path):
        return None if path is None else path.relative_to(folder).as_posix()

    found = find_sources(f"{layout}:{folder}", seed=0, **more)
    assert {source.group for source in found} == {f"{layout}:{folder}"}
    return [(s.case, s.patient, below(s.pet), below(s.label), below(s.ct)) for s in found]


def channels(folder, **content):
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def refused(spec, **more):
    with pytest.raises(UserError) as caught:
        find_sources(spec, seed=0, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_autopet2_is_found_by_patient_and_study(tmp_path):
    tree(
        tmp_path,
        *(f"PETCT_0a1/study1/{name}.nii.gz" for name in ("SUV", "SEG", "CTres", "PET", "CT")),
        *("PETCT_0a1/study2/SUV.nii.gz", "PETCT_0a1/study2/SEG.nii.gz"),
        *("PETCT_f00/study1/SUV.nii.gz", "PETCT_f00/study1/CTres.nii.gz"),
        *("PETCT_f00/.trash/SUV.nii.gz", "PETCT_f00/dicom/1.dcm", "metadata.csv"),
    )
    one, two, three = "PETCT_0a1/study1", "PETCT_0a1/study2", "PETCT_f00/study1"
    assert listed("autopet2", tmp_path) == [
        (one, "PETCT_0a1", f"{one}/SUV.nii.gz", f"{one}/SEG.nii.gz", f"{one}/CTres.nii.gz"),
        (two, "PETCT_0a1", f"{two}/SUV.nii.gz", f"{two}/SEG.nii.gz", None),
        (three, "PETCT_f00", f"{three}/SUV.nii.gz", None, f"{three}/CTres.nii.gz"),
    ]


def test_images_are_found_by_the_labels_name_whatever_their_ending(tmp_path):
    tree(
        tmp_path,
        *("imagesTr/b.nii.gz", "imagesTr/a.mha", "imagesTr/._a.mha", "imagesTr/c.nrrd", "imagesTr/notes.txt"),
        *("labelsTr/a.nii", "labelsTr/b.nii.gz", "labelsTr/._b.nii.gz"),
        *("imagesTs/d.mha", "labelsTs/d.mha"),
    )
    assert listed("images", tmp_path) == [
        ("a", "a", "imagesTr/a.mha", "labelsTr/a.nii", None),
        ("b", "b", "imagesTr/b.nii.gz", "labelsTr/b.nii.gz", None),
        ("c", "c", "imagesTr/c.nrrd", None, None),
    ]


@pytest.mark.parametrize("folder", ["ct", "ctTr"])
def test_ct_of_images_may_lie_in_a_folder_of_its_own(folder, tmp_path):
    tree(tmp_path, "imagesTr/a.mha", "labelsTr/a.mha", "imagesTr/b.mha", "labelsTr/b.mha", f"{folder}/b.nii.gz")
    (tmp_path / "ct").mkdir(exist_ok=True)  # an empty one does not count
    assert [ct for *_, ct in listed("images", tmp_path)] == [None, f"{folder}/b.nii.gz"]


def test_nnunets_only_channel_is_the_pet(tmp_path):
    tree(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/b_0000.nii.gz", "labelsTr/a.nii.gz")
    tree(tmp_path, "ct/a.nii.gz", "ct/b_0000.nii.gz")
    assert listed("images", tmp_path) == [
        ("a", "a", "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "ct/a.nii.gz"),
        ("b", "b", "imagesTr/b_0000.nii.gz", None, "ct/b_0000.nii.gz"),
    ]


def test_numbers_in_the_name_are_no_channels_where_the_label_has_them_too(tmp_path):
    names = ("phantom_0_0000.mha", "phantom_0_0001.mha")
    tree(tmp_path, *(f"imagesTr/{name}" for name in (*names, "phantom_0_0002.mha")))
    tree(tmp_path, *(f"labelsTr/{name}" for name in names))
    assert [(case, label) for case, _, _, label, _ in listed("images", tmp_path)] == [
        ("phantom_0_0000", "labelsTr/phantom_0_0000.mha"),
        ("phantom_0_0001", "labelsTr/phantom_0_0001.mha"),
        ("phantom_0_0002", None),
    ]


def test_scan_whose_label_has_its_whole_name_is_no_channel_of_another(tmp_path):
    tree(tmp_path, "imagesTr/a_0000.mha", "labelsTr/a.mha", "imagesTr/a_0001.mha", "labelsTr/a_0001.mha")
    assert [(case, pet, label) for case, _, pet, label, _ in listed("images", tmp_path)] == [
        ("a", "imagesTr/a_0000.mha", "labelsTr/a.mha"),
        ("a_0001", "imagesTr/a_0001.mha", "labelsTr/a_0001.mha"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        {"channel_names": {"0": "CT", "1": "PET"}},
        {"modality": {"0": "ct", "1": "suv"}},
        {"channel_names": {"1": "FDG-PT", "0": "CT (resampled)"}, "modality": {"0": "PET"}},
        {"channel_names": {"0": "CT", "1": "PET", "2": "noNorm"}},
    ],
)
def test_dataset_json_tells_pet_from_ct(content, tmp_path):
    tree(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz")
    channels(tmp_path, **content)
    assert listed("images", tmp_path) == [
        ("a", "a", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz", "imagesTr/a_0000.nii.gz")
    ]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "none"),
        ({"name": "autoPET"}, "none"),
        ({"channel_names": ["CT", "PET"]}, "none"),
        ({"channel_names": {"0": "CT", "1": "CT"}}, "0: CT, 1: CT"),  # as nnU-Net writes it for autoPET II
        ({"channel_names": {"0": "PET", "1": "SUV"}}, "0: PET, 1: SUV"),
        ({"channel_names": {"0": "PET/CT", "1": "zscore"}}, "0: PET/CT, 1: zscore"),
    ],
)
def test_several_channels_of_which_none_is_known_as_the_pet_are_refused(content, found, tmp_path):
    tree(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz")
    if content is not None:
        channels(tmp_path, **content)
    message = refused(f"images:{tmp_path}")
    assert message.startswith(
        f"{tmp_path / 'dataset.json'}: the scans have several channels and their names are {found};"
    )
    assert message.endswith("give --pet-channel N, and --ct-channel N for the CT")


def test_dataset_json_that_is_none_is_refused(tmp_path):
    tree(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz")
    (tmp_path / "dataset.json").write_text("{'channel_names'")
    assert "dataset.json: is not valid JSON" in refused(f"images:{tmp_path}")


def test_patients_of_autopet_have_one_name_in_all_its_publications(tmp_path):
    names = (
        "fdg_0a1_10-02-2003",
        "fdg_0a1_12_24_2004",
        "psma_95b8_2018-04-21",
        "PETCT_0a1_study",
        "PETCT_0a1",
        "fdg_x",
    )
    tree(tmp_path, *(f"{folder}/{name}.nii.gz" for folder in ("imagesTr", "labelsTr") for name in names))
    assert {case: patient for case, patient, *_ in listed("images", tmp_path)} == {
        "fdg_0a1_10-02-2003": "PETCT_0a1",
        "fdg_0a1_12_24_2004": "PETCT_0a1",
        "PETCT_0a1_study": "PETCT_0a1",
        "PETCT_0a1": "PETCT_0a1",
        "psma_95b8_2018-04-21": "95b8",
        "fdg_x": "fdg_x",
    }


def test_hecktor_is_found_by_its_suffixes_and_may_be_drawn_on_any_grid(tmp_path):
    tree(
        tmp_path,
        *("imagesTr/CHUM-001__PT.nii.gz", "imagesTr/CHUM-001__CT.nii.gz", "labelsTr/CHUM-001.nii.gz"),
        *("imagesTr/MDA-002__PT.nii.gz", "imagesTr/MDA-003__CT.nii.gz"),
    )
    assert listed("hecktor", tmp_path) == [
        (
            *("CHUM-001", "CHUM-001", "imagesTr/CHUM-001__PT.nii.gz", "labelsTr/CHUM-001.nii.gz"),
            "imagesTr/CHUM-001__CT.nii.gz",
        ),
        ("MDA-002", "MDA-002", "imagesTr/MDA-002__PT.nii.gz", None, None),
    ]
    found = find_sources(f"hecktor:{tmp_path}", seed=0, lesion_labels=(1, 2))
    assert {(source.label_grid, source.lesion_labels) for source in found} == {("any", (1, 2))}


def test_challenge_folders_hold_all_cases(tmp_path):
    tree(
        tmp_path,
        *(f"images/pet/{name}.mha" for name in ("a", "psma_b_1", "c")),
        *("images/ct/a.mha", "images/automated-petct-lesion-segmentation/a.mha"),
        "images/tumor-lesion-segmentation/psma_b_1.mha",
    )
    assert listed("challenge", tmp_path) == [
        ("a", "a", "images/pet/a.mha", "images/automated-petct-lesion-segmentation/a.mha", "images/ct/a.mha"),
        ("c", "c", "images/pet/c.mha", None, None),
        ("psma_b_1", "b", "images/pet/psma_b_1.mha", "images/tumor-lesion-segmentation/psma_b_1.mha", None),
    ]


def test_challenge_folders_of_single_cases_pair_any_names(tmp_path):
    tree(
        tmp_path,
        *("one/images/pet/1f3a.mha", "one/images/ct/77b0.mha", "one/images/tumor-lesion-segmentation/c2d4.mha"),
        *("two/images/pet/a.mha", "two/images/pet/b.mha", "two/images/tumor-lesion-segmentation/b.mha"),
        "three/lesion-clicks.json",
    )
    masks = "images/tumor-lesion-segmentation"
    assert listed("challenge", tmp_path) == [
        ("one", "one", "one/images/pet/1f3a.mha", f"one/{masks}/c2d4.mha", "one/images/ct/77b0.mha"),
        ("two/a", "two", "two/images/pet/a.mha", None, None),
        ("two/b", "two", "two/images/pet/b.mha", f"two/{masks}/b.mha", None),
    ]


def test_phantoms_are_those_of_the_phantom_command():
    found = find_sources("phantom:2", seed=3)
    assert [(s.case, s.patient, s.group, s.phantom_seed) for s in found] == [
        ("phantom_3_0000", "phantom_3_0000", "phantom:2", 300_000),
        ("phantom_3_0001", "phantom_3_0001", "phantom:2", 300_001),
    ]
    assert sources.SEEDS_PER_SET == phantom_command.SEEDS_PER_SET
    assert all(source.pet is source.label is None for source in found)


def test_path_may_hold_colons(tmp_path):
    tree(tmp_path / "a:b", "imagesTr/a.mha", "labelsTr/a.mha")
    assert listed("images", tmp_path / "a:b")[0][0] == "a"


@pytest.mark.parametrize("spec", ["nifti:{0}", "{0}", "images:", "images", ":{0}", "", "Images:{0}"])
def test_unknown_layout_is_refused(spec, tmp_path):
    message = refused(spec.format(tmp_path))
    assert message.endswith(
        "expected LAYOUT:PATH with LAYOUT one of autopet2, images, hecktor, challenge, or phantom:N; "
        "images:DIR takes imagesTr and labelsTr in DIR"
    )


@pytest.mark.parametrize("count", ["0", "-1", "many", "1.5", "100001", "²"])
def test_impossible_number_of_phantoms_is_refused(count):
    assert refused(f"phantom:{count}") == f"phantom:{count}: expected phantom:N with N from 1 to 100,000"


@pytest.mark.parametrize(
    ("layout", "looks_like"),
    [
        ("autopet2", "<patient>/<study>/SUV.nii.gz with SEG.nii.gz"),
        ("images", "imagesTr/NAME.nii.gz or imagesTr/NAME_0000.nii.gz with labelsTr/NAME.nii.gz"),
        ("hecktor", "imagesTr/<patient>__PT.nii.gz with labelsTr/<patient>.nii.gz"),
        ("challenge", "images/pet/NAME.mha with images/automated-petct-lesion-segmentation/NAME.mha"),
    ],
)
def test_missing_and_empty_folders_are_refused_with_what_the_layout_looks_like(layout, looks_like, tmp_path):
    missing = tmp_path / "missing"
    assert refused(f"{layout}:{missing}").startswith(f"{missing}: no such folder, expected in it: {looks_like}")
    tree(tmp_path, "elsewhere/scan.txt")
    assert refused(f"{layout}:{tmp_path}").startswith(f"{tmp_path}: no scan found, expected in it: {looks_like}")


def test_data_set_without_any_label_is_refused(tmp_path):
    tree(tmp_path, "imagesTr/a.mha", "imagesTr/b.mha", "labelsTr/c.mha")
    message = refused(f"images:{tmp_path}")
    assert message.startswith(
        f"{tmp_path}: 2 scan(s), such as a.mha, but no label for any; expected in it: imagesTr/NAME"
    )


def problems(layout, folder):
    """Return the cases that cannot be read, with the reason; messages name files below the folder."""
    found = find_sources(f"{layout}:{folder}", seed=0)
    return {source.case: source.problem.replace(f"{folder}/", "") for source in found if source.problem}


def test_label_without_a_scan_is_a_case_with_a_problem(tmp_path):
    tree(tmp_path, "imagesTr/a.mha", "labelsTr/a.mha", "labelsTr/b.mha", "labelsTr/.hidden.mha", "labelsTr/c.txt")
    assert listed("images", tmp_path) == [
        ("a", "a", "imagesTr/a.mha", "labelsTr/a.mha", None),
        ("b", "b", None, "labelsTr/b.mha", None),
    ]
    assert problems("images", tmp_path) == {"b": "the case has no scan, expected imagesTr/b.mha"}


def test_files_in_another_case_are_named_and_not_used(tmp_path):
    tree(tmp_path, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz")
    tree(tmp_path, "imagesTr/b.NII.GZ", "labelsTr/b.nii.gz", "imagesTr/c.nii.gz", "labelsTr/c.Nii.gz")
    tree(tmp_path, "imagesTr/D.nii.gz", "labelsTr/d.nii.gz", "imagesTr/e.NII", "labelsTr/e.NII")
    rename = "differs from it in upper and lower case, rename it"
    assert problems("images", tmp_path) == {
        "D": f"the case has no label, expected labelsTr/D.nii.gz; d.nii.gz {rename}",
        "b": f"the case has no scan, expected imagesTr/b.nii.gz; b.NII.GZ {rename}",
        "c": f"the case has no label, expected labelsTr/c.nii.gz; c.Nii.gz {rename}",
        "e": f"the case has no scan, expected imagesTr/e.nii.gz; e.NII {rename}",
    }
    with pytest.raises(UserError, match=r"^b: the case has no scan, expected .*imagesTr/b.nii.gz; b.NII.GZ differs"):
        read_source(find_sources(f"images:{tmp_path}", seed=0)[2])


def test_channel_that_a_case_lacks_is_named(tmp_path):
    tree(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz")
    tree(tmp_path, "imagesTr/b_0000.nii.gz", "imagesTr/b_0001.NII.GZ", "labelsTr/b.nii.gz")
    tree(tmp_path, "imagesTr/c_0001.nii.gz", "imagesTr/c_0000.Nii.gz", "labelsTr/c.nii.gz", "labelsTr/d.nii.gz")
    channels(tmp_path, channel_names={"0": "CT", "1": "PET"})
    rename = "differs from it in upper and lower case, rename it"
    assert problems("images", tmp_path) == {
        "b": f"the case has no scan, expected imagesTr/b_0001.nii.gz; b_0001.NII.GZ {rename}",
        "d": "the case has no scan, expected imagesTr/d_0001.nii.gz",
    }
    c = find_sources(f"images:{tmp_path}", seed=0)[2]
    assert unreadable(c, with_ct=True) == (
        f"c: the case has no CT, expected {tmp_path}/imagesTr/c_0000.nii.gz; c_0000.Nii.gz {rename}"
    )


def test_missing_scans_of_the_other_layouts_are_named(tmp_path):
    autopet, hecktor, challenge = tmp_path / "autopet", tmp_path / "hecktor", tmp_path / "challenge"
    tree(autopet, "P1/a/SUV.nii.gz", "P1/a/SEG.nii.gz", "P1/b/suv.nii.gz", "P1/b/SEG.nii.gz", "P1/c/SEG.nii.gz")
    assert problems("autopet2", autopet) == {
        "P1/b": "the case has no scan, expected P1/b/SUV.nii.gz; suv.nii.gz differs from it in upper and lower case, "
        "rename it",
        "P1/c": "the case has no scan, expected P1/c/SUV.nii.gz",
    }
    tree(hecktor, "imagesTr/A__PT.nii.gz", "labelsTr/A.nii.gz", "imagesTr/B__pt.nii.gz", "labelsTr/B.nii.gz")
    assert problems("hecktor", hecktor) == {
        "B": "the case has no scan, expected imagesTr/B__PT.nii.gz; B__pt.nii.gz differs from it in upper and lower "
        "case, rename it",
    }
    masks = "images/tumor-lesion-segmentation"
    tree(challenge, "images/pet/a.mha", f"{masks}/a.mha", f"{masks}/b.mha", "images/pet/c.MHA", f"{masks}/c.mha")
    tree(challenge, f"one/{masks}/x.mha", "two/images/pet/p.mha", f"two/{masks}/q.mha")
    assert problems("challenge", challenge) == {
        "b": "the case has no scan, expected images/pet/b.mha",
        "c": "the case has no scan, expected images/pet/c.mha; c.MHA differs from it in upper and lower case, "
        "rename it",
        "one/x": "the case has no scan, expected one/images/pet/x.nii.gz",
    }
    tree(challenge, "images/automated-petct-lesion-segmentation/a.mha")
    assert "could be the same label; remove one" in refused(f"challenge:{challenge}")


def test_data_set_of_wrong_names_only_is_refused_with_one_of_them(tmp_path):
    tree(tmp_path, "imagesTr/a.NII.GZ", "labelsTr/a.NII.GZ")
    message = refused(f"images:{tmp_path}")
    assert f"{tmp_path}: no scan found, expected in it: imagesTr/NAME.nii.gz" in message
    assert message.endswith("imagesTr/a.nii.gz; a.NII.GZ differs from it in upper and lower case, rename it")


def test_patients_are_found_by_a_regular_expression(tmp_path):
    names = ("sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1")
    tree(tmp_path, *(f"{folder}/{name}.mha" for folder in ("imagesTr", "labelsTr") for name in names))
    found = find_sources(f"images:{tmp_path}", seed=0, patient=r"(sub-\d+)_ses")
    assert [source.patient for source in found] == ["sub-01", "sub-01", "sub-02"]
    assert refused(f"images:{tmp_path}", patient=r"(.+)_ses-2").endswith(
        "finds no patient in the name of case sub-01_ses-1"
    )


def test_two_files_that_may_be_meant_are_refused(tmp_path):
    tree(tmp_path, "imagesTr/a.nii", "imagesTr/a.nii.gz", "labelsTr/a.nii")
    assert "a.nii.gz and a.nii could be the same scan" in refused(f"images:{tmp_path}")


def test_background_is_no_lesion(tmp_path):
    tree(tmp_path, "imagesTr/a.mha", "labelsTr/a.mha")
    assert "is the background" in refused(f"images:{tmp_path}", lesion_labels=(0, 1))


def case_of(folder, label, *, grid=GRID, label_grid="pet", lesion_labels=(), ct=None):
    """Write the scan and what is given; return their source."""
    write_volume(Volume(SUV, GRID), folder / "pet.nii.gz")
    write_volume(Volume(label, grid), folder / "label.nii.gz")
    if ct is not None:
        write_volume(ct, folder / "ct.nii.gz")
    return Source(
        *("a", "a", "images:somewhere"),
        pet=folder / "pet.nii.gz",
        label=folder / "label.nii.gz",
        ct=folder / "ct.nii.gz" if ct else None,
        label_grid=label_grid,
        lesion_labels=lesion_labels,
    )


def unreadable(source, **more):
    with pytest.raises(UserError) as caught:
        read_source(source, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def label_with(**voxels):
    """Make a label of GRID; `v123=4` puts a 4 at z = 1, y = 2, x = 3."""
    label = np.zeros(GRID.shape_zyx, np.int16)
    for name, value in voxels.items():
        label[tuple(int(digit) for digit in name[1:])] = value
    return label


@pytest.mark.parametrize(
    ("lesion_labels", "lesions"),
    [((), [1, 1, 1, 0]), ((1,), [1, 0, 0, 0]), ((2, 7), [0, 1, 1, 0]), ((9,), [0, 0, 0, 0])],
)
def test_label_values_become_lesions_as_asked(lesion_labels, lesions, tmp_path):
    label = label_with(v000=1, v012=2, v234=7, v111=-1)
    scan = read_source(case_of(tmp_path, label, lesion_labels=lesion_labels))
    np.testing.assert_array_equal(scan.pet.array_zyx, SUV)
    assert scan.pet.array_zyx.dtype == np.float32
    assert scan.label.array_zyx.dtype == np.uint8
    assert [int(scan.label.array_zyx[at]) for at in ((0, 0, 0), (0, 1, 2), (2, 3, 4), (1, 1, 1))] == lesions
    assert scan.label.array_zyx.sum() == sum(lesions)
    assert scan.label_values == (-1, 1, 2, 7)
    assert scan.ct is None


def test_empty_label_is_a_scan_without_lesions(tmp_path):
    scan = read_source(case_of(tmp_path, label_with()))
    assert not scan.label.array_zyx.any()
    assert scan.label_values == ()


def test_label_stored_with_a_scale_factor_is_understood(tmp_path):
    label = label_with(v000=1, v012=2).astype(np.float32) * np.float32(0.9999)
    scan = read_source(case_of(tmp_path, label, lesion_labels=(2,)))
    assert np.argwhere(scan.label.array_zyx).tolist() == [[0, 1, 2]]
    assert scan.label_values == (1, 2)


def test_label_that_is_no_mask_is_refused(tmp_path):
    label = label_with().astype(np.float32)
    label[0, 0, :3] = 1.0, 0.7, 0.2
    message = unreadable(case_of(tmp_path, label))
    assert "2 voxels of the label are not integers, such as 0.7; expected a mask" in message


def test_label_that_is_not_finite_is_refused(tmp_path):
    label = label_with(v000=1).astype(np.float32)
    label[0, 0, 1] = np.nan
    source = replace(case_of(tmp_path, label), label=tmp_path / "label.mha")
    write_volume(Volume(label, GRID), tmp_path / "label.mha")  # ITK makes 0 of it in NIfTI
    assert "the label has voxels that are not finite numbers" in unreadable(source)


def test_scan_given_as_label_is_refused(tmp_path):
    grid = Geometry((40, 40, 1), (1.0, 1.0, 1.0))
    label = np.arange(1600, dtype=np.int16).reshape(1, 40, 40)
    assert "1,599 different values in the label, expected a few; is it a scan?" in unreadable(
        case_of(tmp_path, label, grid=grid, label_grid="any")
    )


@pytest.mark.parametrize(
    "grid",
    [
        Geometry((5, 4, 3), (4.0, 4.0, 2.0), (-8.0, 10.2, -30.0)),
        Geometry((5, 4, 3), (4.0, 4.05, 2.0), (-8.0, 10.0, -30.0)),  # the last corner is off by 0.15 mm
        Geometry((5, 4, 3), (4.0, 4.0, 2.0), (-8.0, 10.0, -30.0), (1, 0, 0, 0, 1, 0, 0, 0, -1)),  # below the scan
        Geometry((5, 4, 3), (4.0, 4.0, 2.0), (-8.0, 10.0, -26.2), (1, 0, 0, 0, 1, 0, 0, 0, -1)),  # flipped, and off
        Geometry((4, 5, 3), (4.0, 4.0, 2.0), (-8.0, 10.0, -30.0)),
        Geometry((5, 4, 3), (4.0, 4.0, 2.0), (-8.0, 10.0, -30.0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1)),  # turned
        Geometry((5, 4, 2), (4.0, 4.0, 2.0), (-8.0, 10.0, -30.0)),
    ],
)
def test_label_on_another_grid_is_refused(grid, tmp_path):
    source = case_of(tmp_path, np.zeros(grid.shape_zyx, np.uint8), grid=grid)
    message = unreadable(source)
    assert message.startswith(f"{source.label}: the label's grid, ")
    assert message.endswith(
        "that of the scan, 5×4×3 voxels of 4×4×2 mm from (-8.00, 10.00, -30.00) along (1, 0, 0, 0, 1, 0, 0, 0, 1)"
    )


@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
def test_label_along_other_axes_of_the_same_place_is_turned(ending, tmp_path):
    """The array's axes are the patient's S, L, P: x counts slices, from the highest one down."""
    label = label_with(v012=3, v234=1)
    # Of voxel (x, y, z) of the scan, the label has voxel (2 - z, x, y), at the scan's corner z = 2.
    turned = Geometry((3, 5, 4), (2.0, 4.0, 4.0), (-8.0, 10.0, -26.0), (0, 1, 0, 0, 0, 1, -1, 0, 0))
    array_xyz = np.zeros((3, 5, 4), np.uint8)
    array_xyz[2, 2, 1], array_xyz[0, 4, 3] = 3, 1
    source = case_of(tmp_path, label)
    source = replace(source, label=tmp_path / f"turned{ending}")
    write_volume(Volume(np.ascontiguousarray(array_xyz.transpose(2, 1, 0)), turned), source.label)
    scan = read_source(source)
    assert scan.label.geometry == scan.pet.geometry == GRID
    np.testing.assert_array_equal(scan.label.array_zyx, label > 0)
    assert scan.label_values == (1, 3)


def test_form_decides_between_contradicting_coordinates(tmp_path):
    """The sform of the scan says voxels of 4 mm, its qform says 5 mm along x; the label fits the qform."""
    source = case_of(tmp_path, label_with(v012=1), grid=replace(GRID, spacing_mm=(5.0, 4.0, 2.0)))
    image = nibabel.load(source.pet, mmap=False)
    affine = image.affine.copy()
    affine[0, 0] *= 5 / 4
    image.set_qform(affine, code=1)
    nibabel.save(image, source.pet)
    assert "--geometry" in unreadable(source)
    assert "is not that of the scan" in unreadable(replace(source, form="sform"))
    scan = read_source(replace(source, form="qform"))
    assert scan.pet.geometry.spacing_mm == pytest.approx((5.0, 4.0, 2.0))
    assert np.argwhere(scan.label.array_zyx).tolist() == [[0, 1, 2]]


def test_label_whose_header_is_rounded_is_on_the_scans_grid(tmp_path):
    rounded = Geometry((5, 4, 3), (4.01, 4.0, 2.0), (-8.0, 10.05, -30.0))
    scan = read_source(case_of(tmp_path, label_with(v012=1), grid=rounded))
    assert np.argwhere(scan.label.array_zyx).tolist() == [[0, 1, 2]]
    assert scan.label.geometry == scan.pet.geometry


def test_label_on_the_cts_grid_is_brought_to_the_pets(tmp_path):
    """Voxels half as wide: the PET's x = -8, -4, 0, 4, 8 are the label's voxels 0, 2, 4, 6, 8."""
    grid = Geometry((10, 4, 3), (2.0, 4.0, 2.0), (-8.0, 10.0, -30.0))
    label = np.zeros(grid.shape_zyx, np.uint8)
    label[1, 2, 3:5], label[1, 2, 5:7] = 1, 2
    source = case_of(tmp_path, label, grid=grid, label_grid="any")
    assert np.argwhere(read_source(source).label.array_zyx).tolist() == [[1, 2, 2], [1, 2, 3]]
    source = case_of(tmp_path, label, grid=grid, label_grid="any", lesion_labels=(1,))
    assert np.argwhere(read_source(source).label.array_zyx).tolist() == [[1, 2, 2]]
    assert read_source(source).label_values == (1, 2)


def test_interpolation_makes_no_lesion_of_the_mean_of_other_labels(tmp_path):
    """The PET's voxels 1 to 3 lie halfway between a 0 and a 2 of the label, where a 1 was asked for."""
    grid = Geometry((5, 4, 3), (4.0, 4.0, 2.0), (-6.0, 10.0, -30.0))
    label = np.zeros(grid.shape_zyx, np.uint8)
    label[..., 1] = 2
    source = case_of(tmp_path, label, grid=grid, label_grid="any", lesion_labels=(1,))
    assert not read_source(source).label.array_zyx.any()


def test_lesions_of_two_labels_are_one_where_they_touch(tmp_path):
    """At x = 0 both are halfway, at 0.7 of their row: 0.35 of each and 0.7 of any."""
    grid = Geometry((5, 4, 3), (4.0, 4.0, 2.0), (-6.0, 8.8, -30.0))
    label = np.zeros(grid.shape_zyx, np.uint8)
    label[1, 1] = 0, 1, 2, 0, 0
    scan = read_source(case_of(tmp_path, label, grid=grid, label_grid="any"))
    assert np.argwhere(scan.label.array_zyx).tolist() == [[1, 1, 2]]


def test_label_that_misses_the_scan_is_refused(tmp_path):
    grid = Geometry((5, 4, 3), (4.0, 4.0, 2.0), (500.0, 10.0, -30.0))
    label = np.ones(grid.shape_zyx, np.uint8)
    assert "the label has no lesion inside the scan" in unreadable(
        case_of(tmp_path, label, grid=grid, label_grid="any")
    )


def test_ct_is_brought_to_the_pets_grid(tmp_path):
    """A CT whose HU are its x in millimetres, from -5 to 3: the PET's x = -8 and 8 are outside."""
    grid = Geometry((9, 16, 8), (1.0, 1.0, 1.0), (-5.0, 8.0, -31.0))
    hu = np.broadcast_to(np.arange(-5.0, 4.0, dtype=np.float32), grid.shape_zyx) * 100
    source = case_of(tmp_path, label_with(), ct=Volume(hu.copy(), grid))
    scan = read_source(source, with_ct=True)
    assert scan.ct is not None
    assert scan.ct.geometry == scan.pet.geometry
    np.testing.assert_allclose(scan.ct.array_zyx[1, 2], [AIR_HU, -400, 0, AIR_HU, AIR_HU], atol=1e-3)
    assert read_source(source).ct is None


def test_missing_ct_and_label_are_named(tmp_path):
    source = case_of(tmp_path, label_with())
    assert unreadable(source, with_ct=True) == "a: the case has no CT"
    assert unreadable(Source("b", "b", "images:x", pet=source.pet)) == "b: the case has no label"
    assert unreadable(Source("c", "c", "images:x")) == "c: the case has no scan"
    assert unreadable(Source("d", "d", "phantom:1", phantom_seed=0), with_ct=True) == "d: the case has no CT"


def test_ct_of_another_place_is_refused(tmp_path):
    ct = Volume(np.full((3, 4, 5), -1000, np.float32), Geometry((5, 4, 3), (1.0, 1.0, 1.0), (0.0, 0.0, 900.0)))
    source = case_of(tmp_path, label_with(), ct=ct)
    message = unreadable(source, with_ct=True)
    assert message.startswith(f"{source.ct}: ")
    assert "without overlap" in message


def test_phantom_is_made_from_its_seed(monkeypatch):
    grid = Geometry((25, 19, 45), (20.0, 20.0, 20.0), (-247.5, -185.0, -920.0))
    monkeypatch.setattr(sources, "make_phantom", lambda seed: make_phantom(seed, geometry=grid))
    scan = read_source(Source("a", "a", "phantom:1", phantom_seed=5))
    expected = make_phantom(5, geometry=grid)
    np.testing.assert_array_equal(scan.pet.array_zyx, expected.pet.array_zyx)
    np.testing.assert_array_equal(scan.label.array_zyx, expected.label.array_zyx)
    assert (scan.ct, scan.label_values) == (None, (1,) if expected.label.array_zyx.any() else ())


@real(CROPS)
def test_real_crops_are_read_with_their_ct():
    found = {source.case: source for source in find_sources(f"images:{CROPS}", seed=0)}
    assert len(found) == 28
    with_ct = [case for case, source in found.items() if source.ct]
    assert with_ct == [f"STS_{number}" for number in ("002", "015", "019", "025", "041", "042", "050")]
    source = found["STS_002"]
    assert source.pet
    assert source.label
    assert source.ct
    scan = read_source(source, with_ct=True)
    assert scan.ct
    assert scan.ct.geometry == scan.pet.geometry == scan.label.geometry
    np.testing.assert_array_equal(scan.label.array_zyx, read_label(source.label).array_zyx)
    # Another way to a voxel's HU: ITK's interpolator at the patient coordinates of the tumour's voxels.
    ct, pet = sitk.ReadImage(str(source.ct), sitk.sitkFloat32), sitk.ReadImage(str(source.pet))
    for z, y, x in np.argwhere(scan.label.array_zyx)[::50]:
        point_mm = pet.TransformIndexToPhysicalPoint((int(x), int(y), int(z)))
        assert scan.ct.array_zyx[z, y, x] == pytest.approx(
            ct.EvaluateAtPhysicalPoint(point_mm, sitk.sitkLinear), abs=0.1
        )
    tumour = scan.ct.array_zyx[scan.label.array_zyx == 1]
    assert -50 < np.median(tumour) < 100  # soft tissue in HU: the CT lies where the tumour was drawn on the PET


def in_test_set(folder):
    found = find_test_set(f"images:{folder}", seed=0, lesion_labels=(), patient=None, search=Search())
    assert all(source.in_test_set for source in found)
    return [
        (one.case, *(path and str(path.relative_to(folder)) for path in (one.pet, one.label, one.ct))) for one in found
    ]


def test_test_set_is_imagests_with_labelsts(tmp_path):
    tree(tmp_path, "imagesTr/a.mha", "labelsTr/a.mha", "ct/a.mha")
    tree(tmp_path, "imagesTs/b.mha", "labelsTs/b.mha", "ct/b.mha", "imagesTs/c.mha")
    assert in_test_set(tmp_path) == [
        ("b", "imagesTs/b.mha", "labelsTs/b.mha", "ct/b.mha"),
        ("c", "imagesTs/c.mha", None, None),
    ]
    assert [case for case, *_ in listed("images", tmp_path)] == ["a"]
    tree(tmp_path, "ctTs/c.mha")  # a folder of its own goes first
    assert [ct for *_, ct in in_test_set(tmp_path)] == [None, "ctTs/c.mha"]


def test_test_set_has_nnunets_channels(tmp_path):
    tree(tmp_path, *(f"images{part}/{case}_000{n}.mha" for part, case in (("Tr", "a"), ("Ts", "b")) for n in (0, 1)))
    tree(tmp_path, "labelsTr/a.mha", "labelsTs/b.mha")
    channels(tmp_path, channel_names={"0": "CT", "1": "PET"})
    assert in_test_set(tmp_path) == [("b", "imagesTs/b_0001.mha", "labelsTs/b.mha", "imagesTs/b_0000.mha")]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["imagesTs/b.mha"], "labelsTs is missing, as in many published test sets; use --fold or --split instead"),
        (["imagesTs/b.mha", "labelsTs/c.mha"], "1 scan(s), such as b.mha, but no label for any"),
        (["imagesTs/notes.txt", "labelsTs/b.mha"], "no scan found, expected in it: imagesTs/NAME.nii.gz"),
    ],
)
def test_test_set_without_pairs_is_refused(files, message, tmp_path):
    tree(tmp_path, "imagesTr/a.mha", "labelsTr/a.mha", *files)
    with pytest.raises(UserError) as refusal:
        in_test_set(tmp_path)
    assert message in str(refusal.value)


def test_other_layouts_and_data_sets_without_the_folder_have_no_test_set(tmp_path):
    assert in_test_set(tree(tmp_path, "imagesTr/a.mha", "labelsTr/a.mha")) == []
    assert find_test_set("phantom:2", seed=0, lesion_labels=(), patient=None, search=Search()) == []
