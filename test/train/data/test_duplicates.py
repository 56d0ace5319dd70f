"""Scans with the same voxels under different names."""

from __future__ import annotations

import numpy as np
import pytest

from swfastedit_core import Geometry, UserError, Volume
from swfastedit_core.train.data.duplicates import digest_of, remark_duplicates, require_apart
from swfastedit_core.train.data.findings import Finding
from swfastedit_core.train.data.sources import Source

SUV = np.arange(24, dtype=np.float32).reshape(2, 3, 4)  # x, y, z: 4, 3, 2
GRID = Geometry((4, 3, 2), (2.0, 2.0, 3.0))


def test_same_voxels_have_the_same_digest_whatever_the_header_and_the_order_in_the_file():
    turned = Geometry((2, 4, 3), (3.0, 2.0, 2.0), (6.0, 0.0, 0.0), (0, -1, 0, 0, 0, 1, 1, 0, 0))
    array = np.array([[[[SUV[z, y, 3 - x] for z in range(2)] for x in range(4)] for y in range(3)]])[0]
    assert array.shape == turned.shape_zyx
    moved = Geometry((4, 3, 2), (4.0, 4.0, 3.0), (9.0, 9.0, 9.0))
    same = [Volume(SUV, GRID), Volume(SUV.copy(), moved), Volume(np.asfortranarray(SUV), GRID), Volume(array, turned)]
    assert len({digest_of(volume) for volume in same}) == 1


def test_other_voxels_have_another_digest():
    other = SUV.copy()
    other[1, 2, 3] = np.nextafter(other[1, 2, 3], np.float32(99))
    reshaped = Volume(SUV.reshape(3, 2, 4), Geometry((4, 2, 3), (2.0, 2.0, 3.0)))
    mirrored = Volume(SUV[..., ::-1], GRID)
    volumes = [Volume(SUV, GRID), Volume(other, GRID), reshaped, mirrored]
    assert len({digest_of(volume) for volume in volumes}) == 4


def found(case, content, *, group="images:x", patient=None, **more):
    return Finding(case, group, patient or case, content=content, **more)


def test_later_one_of_two_equal_scans_is_remarked_upon():
    findings = [
        *(
            found("a", "1"),
            found("b", "2"),
            found("c", "1", remark="odd"),
            found("d", "1", group="images:y", patient="a"),
        ),
        *(found("e", ""), found("f", "")),  # phantoms, and scans that cannot be read
    ]
    assert [finding.remark for finding in remark_duplicates(findings)] == [
        *("", ""),
        "odd; the scan has the same voxels as a in images:x, and they count as different patients",
        "the scan has the same voxels as a in images:x",
        *("", ""),
    ]


def test_equal_scans_on_both_sides_of_a_split_are_refused():
    contents = {"a": "1", "b": "2", "c": "3", "d": "2", "e": "1", "p": "", "q": ""}
    sources = {case: Source(case, f"patient of {case}", "images:x") for case in contents}
    findings = {sources[case]: found(case, content) for case, content in contents.items()}

    def check(training, held_out):
        require_apart(
            [sources[case] for case in training], [sources[case] for case in held_out], findings, where="fold 0/5"
        )

    check("abdp", "cq")
    check("ae", "bd")
    with pytest.raises(UserError) as caught:
        check("abc", "d")
    assert str(caught.value) == (
        "fold 0/5: the same voxels are in both sets: b of patient patient of b in the training set, d of patient "
        "patient of d in the validation set; remove one of the two, or put them in one set with --patient or --split"
    )
    with pytest.raises(UserError, match="validation set, and 1 more such pairs; remove one"):
        check("abc", "de")
