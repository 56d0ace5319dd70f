"""Clicks: their files, and the voxels that they mark."""

from __future__ import annotations

import json

import numpy as np
import pytest

from swfastedit_core.clicks import Click, ClickKind, clicks_to_json, file_voxels, parse_clicks, read_clicks
from swfastedit_core.errors import UserError
from swfastedit_core.volume import Geometry

TUMOUR, BACKGROUND = ClickKind.TUMOUR, ClickKind.BACKGROUND
# x of the file runs to posterior, y to the right, z to the head; 100 × 80 × 60 voxels of 2 × 3 × 5 mm.
GRID = Geometry((100, 80, 60), (2.0, 3.0, 5.0), (100.0, -50.0, 20.0), (0, -1, 0, 1, 0, 0, 0, 0, 1))


def content(**changes):
    """Return a click file with one tumour click; None removes an entry."""
    plain = {"version": {"major": 1, "minor": 0}, "type": "Multiple points"}
    plain |= {"points": [{"point": [1, 2, 3], "name": "tumor"}]}
    return json.dumps({name: value for name, value in {**plain, **changes}.items() if value is not None})


def with_point(point, name="tumor"):
    return content(points=[{"point": [4, 5, 6], "name": "background"}, {"point": point, "name": name}])


def refused(text):
    with pytest.raises(UserError) as caught:
        parse_clicks(text, source="clicks.json")
    message = str(caught.value)
    assert message.startswith("clicks.json: ")
    assert "\n" not in message
    assert len(message) < 250
    return message.removeprefix("clicks.json: ")


def test_click_file_of_the_challenges_is_read(tmp_path):
    path = tmp_path / "lesion-clicks.json"
    path.write_text(with_point([7, 0, 9]))
    assert read_clicks(path) == (Click(BACKGROUND, (4, 5, 6)), Click(TUMOUR, (7, 0, 9)))
    path.write_bytes(b"\xef\xbb\xbf" + content().encode())  # as some editors on Windows save it
    assert read_clicks(path) == (Click(TUMOUR, (1, 2, 3)),)


def test_further_entries_are_ignored():
    point = {"point": [1, 2, 3], "name": "tumor", "probability": 0.5}
    assert parse_clicks(content(points=[point], name="Clicks"), source="x") == (Click(TUMOUR, (1, 2, 3)),)
    assert parse_clicks(content(version={"major": 1, "minor": 7}), source="x") == (Click(TUMOUR, (1, 2, 3)),)


def test_file_without_points_is_valid():
    assert parse_clicks(content(points=[]), source="x") == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("tumor", (1, 2, 3)), "kind 'tumor', expected ClickKind.TUMOUR or"),
        ((TUMOUR, (1, 2)), r"at \(1, 2\), expected three numbers"),
        ((TUMOUR, (1, 2, 3), "mm"), "space 'mm', expected 'voxel' or 'patient'"),
    ],
)
def test_click_of_an_unknown_kind_or_space_is_an_error(values, message):
    with pytest.raises(UserError, match=message):
        Click(*values)


LIST = "has no list of points"
PLACE = "expected three whole numbers: the voxel x, y, z"
NAME = "expected 'tumor' or 'background'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON (Expecting value: line 1 column 1 (char 0)), expected a file of clicks"),
        ("{'points': []}", "is not JSON (Expecting property name enclosed in double quotes"),
        (content()[:-5], "is not JSON ("),
        (b"\xff\xfe\xfa", "is not JSON ("),
        ("[" * 100_000, "is not JSON (maximum recursion depth exceeded"),
        ("[]", "holds [], expected an object with version, type and points"),
        ("3", "holds 3, expected an object"),
        ('"two\\nlines"', "holds 'two\\nlines', expected an object"),
        (content(version=None), 'version None, expected {"major": 1, "minor": 0}'),
        (content(version={"major": 2, "minor": 0}), "version {'major': 2, 'minor': 0}, expected {\"major\": 1"),
        (content(version="1.0"), "version '1.0', expected"),
        (content(version=[1, 0]), "version [1, 0], expected"),
        (content(type=None), "type None, expected 'Multiple points'"),
        (content(type="Point"), "type 'Point', expected 'Multiple points'"),
        (content(type=["Multiple points"]), "type ['Multiple points'], expected"),
        (content(points=None), LIST),
        (content(points={"tumor": [[1, 2, 3]]}), LIST),
        (content(points="none"), LIST),
        (content(points=[[1, 2, 3]]), "point 1 is [1, 2, 3], expected an object with point and name"),
        (with_point([1, 2, 3], "lesion"), f"point 2 has the name 'lesion', {NAME}"),
        (with_point([1, 2, 3], "tumour"), f"point 2 has the name 'tumour', {NAME}"),
        (with_point([1, 2, 3], None), f"point 2 has the name None, {NAME}"),
        (with_point([1, 2, 3], ["tumor"]), f"point 2 has the name ['tumor'], {NAME}"),
        (with_point([1, 2, 3], {"tumor": 1}), f"point 2 has the name {{'tumor': 1}}, {NAME}"),
        (with_point([1.5, 2, 3]), f"point 2 lies at [1.5, 2, 3], {PLACE}"),
        (with_point([1.0, 2.0, 3.0]), f"point 2 lies at [1.0, 2.0, 3.0], {PLACE}"),
        (with_point([float("nan"), 2, 3]), f"point 2 lies at [nan, 2, 3], {PLACE}"),
        (with_point([float("inf"), 2, 3]), f"point 2 lies at [inf, 2, 3], {PLACE}"),
        (with_point([True, 2, 3]), f"point 2 lies at [True, 2, 3], {PLACE}"),
        (with_point(["1", 2, 3]), f"point 2 lies at ['1', 2, 3], {PLACE}"),
        (with_point([1, 2]), f"point 2 lies at [1, 2], {PLACE}"),
        (with_point([1, 2, 3, 4]), f"point 2 lies at [1, 2, 3, 4], {PLACE}"),
        (with_point(None), f"point 2 lies at None, {PLACE}"),
        (with_point("1, 2, 3"), f"point 2 lies at '1, 2, 3', {PLACE}"),
        (with_point([0] * 10**5), "point 2 lies at [0, 0, 0, 0, 0, 0, ...], expected three"),
        (with_point([-1, 2, 3]), "point 2 lies at [-1, 2, 3], expected voxel indices of the scan, from 0 on"),
        (with_point([1, 2, 10**400]), "point 2 lies at [1, 2, 1000"),
        (content(points=[{"point": [1, 2, 3], "name": "tumor"}] * 10**5), "has 100000 points, expected 20000 at most"),
        (content().replace("{", '{"points": [], ', 1), "is not JSON ('points' is there twice), expected a file of"),
        (" " * 2**24 + content(), "is larger than 16 MB, expected a file of clicks"),
    ],
)  # fmt: skip
def test_bad_click_files_are_refused_in_one_line(text, message):
    assert refused(text).startswith(message)


def test_deeply_nested_values_are_refused_in_one_line():
    nested = "[" * 900 + "]" * 900
    assert refused(content(points=[3]).replace("[3]", f"[{nested}]")).startswith("point 1 is [[[")


def test_click_file_that_cannot_be_read_is_named(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(UserError) as caught:
            read_clicks(path)
        assert str(caught.value).startswith(f"{path}: cannot be read (")
        assert str(caught.value).endswith("), expected a file of clicks")


def test_file_is_not_read_beyond_its_limit(tmp_path):
    path = tmp_path / "clicks.json"
    with path.open("wb") as file:
        file.truncate(10**12)  # takes no space
    with pytest.raises(UserError, match=r"clicks\.json: is larger than 16 MB"):
        read_clicks(path)


def test_clicks_mark_voxels_in_their_order_and_equal_ones_once():
    marked = [(3, 4, 5), (99, 79, 59), (0, 0, 0), (3, 4, 5)]
    voxels = file_voxels([Click(TUMOUR, position) for position in marked], GRID)
    assert voxels[TUMOUR].tolist() == [[3, 4, 5], [99, 79, 59], [0, 0, 0]]
    assert voxels[TUMOUR].dtype == np.int64
    assert voxels[BACKGROUND].shape == (0, 3)


def test_one_voxel_may_be_both():
    voxels = file_voxels([Click(TUMOUR, (1, 2, 3)), Click(BACKGROUND, (1, 2, 3))], GRID)
    assert voxels[TUMOUR].tolist() == voxels[BACKGROUND].tolist() == [[1, 2, 3]]


def test_patient_coordinates_mark_the_nearest_voxel():
    # voxel (7, 9, 11): L = 100 - 9 × 3, P = -50 + 7 × 2, S = 20 + 11 × 5
    clicks = [Click(TUMOUR, (73.0 + 1.4, -36.0 - 0.9, 75.0 + 2.4), "patient"), Click(TUMOUR, (7, 9, 11))]
    assert file_voxels(clicks, GRID)[TUMOUR].tolist() == [[7, 9, 11]]
    beside = Click(TUMOUR, (73.0 + 1.6, -36.0 - 0.9, 75.0 + 2.4), "patient")
    assert file_voxels([beside], GRID)[TUMOUR].tolist() == [[7, 8, 11]]


@pytest.mark.parametrize(
    ("click", "named"),
    [
        (Click(TUMOUR, (100, 0, 0)), "the tumour click at voxel (100, 0, 0)"),
        (Click(BACKGROUND, (0, 80, 0)), "the background click at voxel (0, 80, 0)"),
        (Click(TUMOUR, (0, 0, 12_345_678)), "the tumour click at voxel (0, 0, 12345678)"),
        (Click(TUMOUR, (0, -1, 0)), "the tumour click at voxel (0, -1, 0)"),
        (Click(TUMOUR, (101.6, -50.0, 20.0), "patient"), "the tumour click at L, P, S = (101.6, -50.0, 20.0) mm"),
        (Click(BACKGROUND, (float("nan"), 0, 0), "patient"), "the background click at L, P, S = (nan, 0, 0) mm"),
        (Click(BACKGROUND, (0, float("inf"), 0), "patient"), "the background click at L, P, S = (0, inf, 0) mm"),
    ],
)
def test_click_outside_the_scan_is_an_error_that_names_it(click, named):
    with pytest.raises(UserError) as caught:
        file_voxels([Click(TUMOUR, (1, 1, 1)), click], GRID)
    assert str(caught.value) == f"{named} lies outside the scan, which has 100 × 80 × 60 voxels"


def test_outermost_faces_belong_to_the_scan():
    faces = [(101.4, -50.9, 17.6), (100.0 - 79 * 3 - 1.4, -50.0 + 99 * 2 + 0.9, 20.0 + 59 * 5 + 2.4)]
    voxels = file_voxels([Click(TUMOUR, place, "patient") for place in faces], GRID)
    assert voxels[TUMOUR].tolist() == [[0, 0, 0], [99, 79, 59]]


def test_written_clicks_read_back():
    clicks = (Click(TUMOUR, (3, 4, 5)), Click(TUMOUR, (0, 1, 2)), Click(BACKGROUND, (6, 7, 8)))
    assert parse_clicks(clicks_to_json(file_voxels(clicks, GRID)), source="x") == clicks
    assert json.loads(clicks_to_json(file_voxels((), GRID))) == json.loads(content(points=[]))
