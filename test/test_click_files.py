"""Click files of 3D Slicer and of the original plug-in, beside those of the challenges."""

from __future__ import annotations

import json
import os

import pytest
from places import ROOT

from swfastedit_core.click_files import read_click_file, read_clicks_inside
from swfastedit_core.clicks import MAX_POINTS, Click, ClickKind, file_voxels
from swfastedit_core.errors import UserError
from swfastedit_core.files.geometry import read_geometry
from swfastedit_core.volume import Geometry

TUMOUR, BACKGROUND = ClickKind.TUMOUR, ClickKind.BACKGROUND
HEAD = {"version": {"major": 1, "minor": 0}, "type": "Multiple points"}
SCHEMA = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"


def test_shipped_example_has_a_click_of_each_kind_in_the_shipped_scan():
    (scan,) = (ROOT / "test/input/images/pet").glob("*.mha")
    clicks = read_clicks_inside([ROOT / "test/input/lesion-clicks.json"], read_geometry(scan))
    assert clicks == (Click(TUMOUR, (86, 75, 53)), Click(BACKGROUND, (86, 78, 17)))


def point(label, position, **more):
    """Make a control point as Slicer writes it."""
    common = {"id": "1", "description": "", "associatedNodeID": "vtkMRMLScalarVolumeNode1", "selected": True}
    orientation = [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0]
    return {
        **common,
        **{"label": label, "position": position, "orientation": orientation, "locked": False, "visibility": True},
        **{"positionStatus": "defined", **more},
    }


def markups(*points, **more):
    """Make a point list as Slicer writes it."""
    common = {"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm", "labelFormat": "%N-%d"}
    return {"@schema": SCHEMA, "markups": [{**common, "controlPoints": list(points), "display": {}, **more}]}


def read(tmp_path, content, name="clicks.json"):
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return read_click_file(tmp_path / name)


def test_file_of_the_challenges(tmp_path):
    points = [{"point": [1, 2, 3], "name": "tumor"}, {"point": [4, 5, 6], "name": "background"}]
    assert read(tmp_path, {**HEAD, "points": points}) == (Click(TUMOUR, (1, 2, 3)), Click(BACKGROUND, (4, 5, 6)))
    assert read(tmp_path, {**HEAD, "points": []}) == ()


def test_slicer_points_have_patient_coordinates_and_the_kind_of_their_label(tmp_path):
    points = (
        point("tumor-1", [1.5, -2.0, 3]),
        point("Tumour 2", [0, 0, 0]),
        point("lesion", [4, 5, 6]),
        point("background_1", [7, 8, 9]),
        point("tumor-3", [0, 0, 0], positionStatus="undefined"),  # not placed
    )
    assert read(tmp_path, markups(*points), "any.mrk.json") == (
        Click(TUMOUR, (1.5, -2.0, 3.0), "patient"),
        Click(TUMOUR, (0.0, 0.0, 0.0), "patient"),
        Click(TUMOUR, (4.0, 5.0, 6.0), "patient"),
        Click(BACKGROUND, (7.0, 8.0, 9.0), "patient"),
    )


def test_slicer_points_in_ras_are_the_same_places_as_in_lps(tmp_path):
    grid = Geometry((10, 12, 14), (2.0, 3.0, 4.0), (-5.0, 40.0, -100.0))
    lps = read(tmp_path, markups(point("tumor-1", [3.0, 55.0, -92.0])))
    ras = read(tmp_path, markups(point("tumor-1", [-3.0, -55.0, -92.0]), coordinateSystem="RAS"))
    assert lps == ras
    assert file_voxels(lps, grid)[TUMOUR].tolist() == [[4, 5, 2]]


def test_slicer_list_without_a_coordinate_system_is_in_lps_as_slicer_reads_it(tmp_path):
    content = markups(point("tumor-1", [1.0, 2.0, 3.0]), coordinateUnits=["mm", "UCUM", "millimeter"])
    del content["markups"][0]["coordinateSystem"]
    assert read(tmp_path, content) == (Click(TUMOUR, (1.0, 2.0, 3.0), "patient"),)


@pytest.mark.parametrize(
    ("list_name", "file_name", "kind"),
    [
        ("background", "x.mrk.json", BACKGROUND),
        ("Lesions", "background.mrk.json", TUMOUR),  # the list's name counts before the file's
        (None, "background.mrk.json", BACKGROUND),
        (None, "Tumor_1.mrk.json", TUMOUR),
        (None, "lesions.json", TUMOUR),
    ],
)
def test_kind_of_points_with_other_labels_is_that_of_the_list_or_else_of_the_file(list_name, file_name, kind, tmp_path):
    name = {} if list_name is None else {"name": list_name}
    assert [click.kind for click in read(tmp_path, markups(point("F-1", [0, 0, 0]), **name), file_name)] == [kind]


def test_plug_ins_file_has_voxels(tmp_path):
    content = {"tumor": [[1, 2, 3], [1, 2, 4]], "background": [[7, 8, 9]]}
    expected = (Click(TUMOUR, (1, 2, 3)), Click(TUMOUR, (1, 2, 4)), Click(BACKGROUND, (7, 8, 9)))
    assert read(tmp_path, content) == expected
    assert read(tmp_path, {"tumor": []}) == ()


WRONG = [
    ("no JSON", "is not JSON"),
    ("", "is not JSON"),
    ('{"tumor": [[1, 2, 3]], "tumor": []}', "is not JSON ('tumor' is there twice)"),
    ([], "holds [], expected an object with version, type and points"),
    ({}, "has [], expected points (of the challenges), markups (of 3D Slicer), or tumor and background (voxels)"),
    ({"foreground": []}, "has ['foreground'], expected points"),
    ({"points": [], "markups": []}, "has points and markups, which are two kinds of click files, expected one"),
    ({"points": [], "tumor": []}, "has points and tumor or background, which are two kinds"),
    ({"points": [], "version": HEAD["version"]}, "type None, expected 'Multiple points'"),
    ({**HEAD, "points": [{"point": [1, 2, 3], "name": "liver"}]}, "has the name 'liver', expected 'tumor' or"),
    ({"tumor": [[1, 2]]}, "tumor 1 is [1, 2], expected the voxel x, y, z: three whole numbers of 0 or more"),
    ({"tumor": [[1, 2, 3], [1.0, 2, 3]]}, "tumor 2 is [1.0, 2, 3], expected the voxel"),
    ({"background": [[1, 2, -3]]}, "background 1 is [1, 2, -3]"),
    ({"background": [[1, 2, True]]}, "background 1 is [1, 2, True]"),
    ({"background": [[1, 2, 10**30]]}, "background 1 is [1, 2, 1000"),
    ({"tumor": 3}, "tumor is 3, expected a list of voxels"),
    ({"tumor": [], "spleen": []}, "has ['spleen'] beside tumor and background, expected only these two"),
    ({"tumor": [[0, 0, 0]] * (MAX_POINTS + 1)}, f"has {MAX_POINTS + 1} points, expected {MAX_POINTS} at most"),
    ({"markups": 3}, "markups is 3, expected a list of objects"),
    ({"markups": [3]}, "markups is [3], expected a list of objects"),
    (markups(type="Line"), "has the type 'Line', expected 'Fiducial', a list of points"),
    (markups(coordinateSystem="IJK"), "has the coordinate system 'IJK', expected 'LPS' or 'RAS'"),
    (markups(coordinateSystem=None), "has the coordinate system None"),
    (markups(coordinateUnits="um"), "has coordinates in 'um', expected 'mm'"),
    (markups(coordinateUnits=["um", "UCUM", "micrometer"]), "has coordinates in ['um', 'UCUM', 'micrometer']"),
    (markups(controlPoints={}), "has controlPoints {}, expected a list of objects"),
    (
        markups(point("F-1", [0, 0, 0])),
        "point 1 has the label 'F-1', in a list named ''; expected one of them, and not",
    ),
    (markups(point("tumor-1", [0, 0, 0]), name="background"), "point 1 has the label 'tumor-1', in a list named 'back"),
    (markups(point("tumor-1", [0, 0])), "point 1 lies at [0, 0], expected three numbers, in mm"),
    (markups(point("tumor-1", [0, 0, float("nan")])), "point 1 lies at [0, 0, nan]"),
    (markups(point("tumor-1", [0, 0, 10**400])), "point 1 lies at [0, 0, 1000"),
    (markups(point("tumor-1", [0, 0, "1"])), "point 1 lies at [0, 0, '1']"),
    ({"markups": markups()["markups"] + markups(point("a", [0, 0, 0]))["markups"]}, "list 2 point 1 has the label 'a'"),
]


@pytest.mark.parametrize(("content", "reason"), WRONG, ids=[reason[:50] for _, reason in WRONG])
def test_other_file_is_refused_in_one_short_line(content, reason, tmp_path):
    with pytest.raises(UserError) as caught:
        read(tmp_path, content)
    message = str(caught.value)
    assert reason in message
    assert message.startswith(f"{tmp_path / 'clicks.json'}: ")
    assert "\n" not in message
    assert len(message) < 250 + len(str(tmp_path))


def test_missing_file_and_large_file_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"clicks\.json: cannot be read \(No such file or directory\)"):
        read_click_file(tmp_path / "clicks.json")
    with pytest.raises(UserError, match="is larger than 16 MB"):
        read(tmp_path, {"tumor": [], "background": [], "more": "x" * 2**24})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe: is not a file, expected a file of clicks"):
        read_click_file(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["lesion-clicks.json", "tumorboard.json", "clicks.json", "background.nii.json"])
def test_name_of_a_file_that_is_no_list_tells_no_kind(name, tmp_path):
    with pytest.raises(UserError, match="begin with tumor, tumour, lesion or background"):
        read(tmp_path, markups(point("F-1", [0, 0, 0])), name)
