"""Which channel is the PET and which is the CT: by option, by name, by content."""

from __future__ import annotations

import json

import numpy as np
import pytest

from swfastedit_core import Geometry, UserError, Volume, write_volume
from swfastedit_core.train.data.channels import ChannelNumbers
from swfastedit_core.train.data.layouts import Search
from swfastedit_core.train.data.sources import find_sources
from swfastedit_core.train.data.survey import examine

GRID = Geometry((5, 4, 3), (40.0, 50.0, 40.0))
SUV = np.arange(60, dtype=np.float32).reshape(3, 4, 5) / 10
HU = SUV * 100 - 1000  # from -1,000 to -410
LABEL = np.zeros((3, 4, 5), np.uint8)
LABEL[1, 1, 1] = 1
AUTOPET_OF_NNUNET = {"0": "CT", "1": "CT"}


def data_set(folder, names, **scans):
    """Write cases of two channels, such as a=(HU, SUV), and dataset.json."""
    for case, arrays in scans.items():
        write_volume(Volume(LABEL, GRID), folder / "labelsTr" / f"{case}.mha")
        for number, array in enumerate(arrays):
            path = folder / "imagesTr" / f"{case}_{number:04d}.mha"
            if array is None:
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(b"no image")
            else:
                write_volume(Volume(array, GRID), path)
    if names is not None:
        (folder / "dataset.json").write_text(json.dumps({"channel_names": names}))
    return folder


def chosen(folder, *, pet=None, ct=None):
    """Return the files of PET and CT of the first case, and the remarks."""
    remarks = []
    search = Search(ChannelNumbers(pet, ct), remark=remarks.append)
    source = find_sources(f"images:{folder}", seed=0, search=search)[0]
    return source.pet.name, source.ct and source.ct.name, remarks


@pytest.mark.parametrize(
    ("arrays", "pet", "ct"), [((HU, SUV), "a_0001.mha", "a_0000.mha"), ((SUV, HU), "a_0000.mha", "a_0001.mha")]
)
@pytest.mark.parametrize("names", [AUTOPET_OF_NNUNET, None, {"0": "zscore", "1": "noNorm"}])
def test_content_tells_pet_from_ct_where_names_do_not(arrays, pet, ct, names, tmp_path):
    found = chosen(data_set(tmp_path, names, a=arrays))
    assert found[:2] == (pet, ct)
    (remark,) = found[2]
    assert f"by their content, channel {int(pet[5])} is the PET and channel {int(ct[5])} is the CT" in remark
    assert remark.startswith(f"{tmp_path / 'dataset.json'}: names of the channels are ")


def test_next_case_tells_where_one_cannot_be_read_or_decides_nothing(tmp_path):
    data_set(tmp_path, AUTOPET_OF_NNUNET, a=(None, SUV), b=(SUV, SUV), c=(HU, SUV))
    assert chosen(tmp_path)[:2] == ("a_0001.mha", "a_0000.mha")


@pytest.mark.parametrize("arrays", [(SUV, SUV), (HU, HU), (HU, SUV, SUV)])
def test_content_that_decides_nothing_is_refused(arrays, tmp_path):
    data_set(tmp_path, AUTOPET_OF_NNUNET, a=arrays)
    with pytest.raises(UserError, match=r"names are 0: CT, 1: CT; .*; give --pet-channel N, and --ct-channel N"):
        chosen(tmp_path)


def test_names_decide_without_reading(tmp_path):
    data_set(tmp_path, {"0": "CT", "1": "PET"}, a=(None, None))
    assert chosen(tmp_path) == ("a_0001.mha", "a_0000.mha", [])


@pytest.mark.parametrize(
    ("pet", "ct", "expected"),
    [
        (0, 1, ("a_0000.mha", "a_0001.mha")),  # options replace the names
        (0, None, ("a_0000.mha", None)),  # the only other channel is named PET, and its content is none of a CT
        (2, None, ("a_0002.mha", "a_0000.mha")),  # the CT by its name
        (None, 2, ("a_0001.mha", "a_0002.mha")),  # the PET by its name
        (None, 1, None),
    ],
)
def test_options_replace_names(pet, ct, expected, tmp_path):
    data_set(tmp_path, {"0": "CT", "1": "PET", "2": "noNorm"}, a=(SUV, SUV, SUV))
    if expected is None:
        with pytest.raises(UserError, match="give --pet-channel N"):
            chosen(tmp_path, pet=pet, ct=ct)
    else:
        assert chosen(tmp_path, pet=pet, ct=ct) == (*expected, [])


def test_one_option_is_enough_for_two_channels(tmp_path):
    data_set(tmp_path, AUTOPET_OF_NNUNET, a=(SUV, SUV))
    assert chosen(tmp_path, pet=1) == ("a_0001.mha", "a_0000.mha", [])
    assert chosen(tmp_path, ct=1) == ("a_0000.mha", "a_0001.mha", [])


def test_numbers_that_do_not_exist_or_are_equal_are_refused(tmp_path):
    data_set(tmp_path, AUTOPET_OF_NNUNET, a=(HU, SUV))
    with pytest.raises(UserError, match=r"^--pet-channel 2: no scan has that channel; found in .*: 0, 1$"):
        chosen(tmp_path, pet=2)
    with pytest.raises(UserError, match=r"^--ct-channel 7: no scan has that channel"):
        chosen(tmp_path, ct=7)
    with pytest.raises(UserError, match=r"^--pet-channel and --ct-channel are both 1, expected two channels$"):
        ChannelNumbers(1, 1)


def test_numbers_without_channels_are_remarked_upon(tmp_path):
    write_volume(Volume(SUV, GRID), tmp_path / "imagesTr" / "a.mha")
    write_volume(Volume(LABEL, GRID), tmp_path / "labelsTr" / "a.mha")
    assert chosen(tmp_path, pet=1) == (
        *("a.mha", None),
        [f"{tmp_path}: the scans have no channels; --pet-channel and --ct-channel have no effect on them"],
    )


def test_swapped_names_are_a_problem_of_each_case(tmp_path):
    data_set(tmp_path, {"0": "PET", "1": "CT"}, a=(HU, SUV), b=(SUV, HU))
    a, b = (
        examine(source, spacing_mm=(40.0, 50.0, 40.0), with_ct=with_ct)
        for source, with_ct in zip(find_sources(f"images:{tmp_path}", seed=0), (True, False), strict=True)
    )
    assert a.problem == (
        f"{tmp_path}/imagesTr/a_0000.mha: minimum -1,000 looks like a CT in HU, expected a PET in SUV; if the names of "
        "the channels are swapped, give --pet-channel 1 --ct-channel 0"
    )
    assert b.problem == ""
    source = find_sources(f"images:{tmp_path}", seed=0, search=Search(ChannelNumbers(1, 0)))[0]
    assert examine(source, spacing_mm=(40.0, 50.0, 40.0), with_ct=True).problem == ""
