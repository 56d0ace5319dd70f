from __future__ import annotations

import warnings

import pytest
import SimpleITK as sitk
from handwritten import VOXELS, image, refused, values

from swfastedit_core import DataWarning, Geometry, read_label, read_volume


def test_nrrd_without_a_spacing_is_refused_although_itk_takes_one_millimetre(tmp_path):
    fields = "NRRD0004\ntype: float\ndimension: 3\nsizes: 4 3 2\nencoding: raw\nendian: little\n"
    (tmp_path / "scan.nrrd").write_bytes(fields.encode() + b"\n" + VOXELS)
    assert refused(tmp_path / "scan.nrrd") == "the header gives no voxel spacing (spacings or space directions)"
    (tmp_path / "scan.nrrd").write_bytes(fields.encode() + b"spacings: 2 2 3\n\n" + VOXELS)
    with pytest.warns(DataWarning, match="gives no patient axes"):
        assert read_volume(tmp_path / "scan.nrrd").geometry.spacing_mm == (2.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"sizes: 8 7 6", b"sizes: 1500 1500 500", "1500×1500×500 voxels need 4.2 GiB as float32, the limit is 4"),
        (b"(1,0,0)", b"(0,0,0)", "the header says space directions: (0,0,0) (0,1,0) (0,0,1), one of length 0"),
        (b"(1,0,0)", b"(1,0.5,0)", "not orthonormal"),
        (b"(1,0,0)", b"(nan,0,0)", "(nan,0,0) (0,1,0) (0,0,1), expected 3 vectors of three finite numbers"),
        (b"\n\n", b"\ndata file: elsewhere.raw\n\n", "expected one self-contained .nrrd"),
    ],
)
def test_impossible_nrrd_header_is_refused(old, new, words, tmp_path):
    path = tmp_path / "scan.nrrd"
    sitk.WriteImage(image(values()), str(path))
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    (tmp_path / "elsewhere.raw").write_bytes(values().tobytes())
    assert words in refused(path)


def handmade(path, *lines, payload=VOXELS, sizes="4 3 2", dimension=3):
    head = ["NRRD0004", "type: float", f"dimension: {dimension}", f"sizes: {sizes}", "encoding: raw", "endian: little"]
    path.write_bytes("\n".join([*head, *lines, "", ""]).encode() + payload)
    return path


LPS_LINES = ("space: left-posterior-superior", "space directions: (2,0,0) (0,2,0) (0,0,3)")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["spacings: 2 2 nan"], "spacings: 2 2 nan, expected three positive numbers"),
        (["spacings: 2 2 0"], "spacings: 2 2 0, expected three positive numbers"),
        (["spacings: 2 -2 3"], "spacings: 2 -2 3, expected three positive numbers"),
        (["spacings: 2 2"], "spacings: 2 2, expected three positive numbers"),
        ([LPS_LINES[0], "space directions: none (0,2,0) (0,0,3)"], "expected 3 vectors of three finite numbers"),
        ([LPS_LINES[0], "space directions: (2,0) (0,2) (0,0)"], "expected 3 vectors of three finite numbers"),
        ([*LPS_LINES, "space origin: (nan,0,0)"], "space origin: (nan,0,0), expected 1 vector of three finite numbers"),
        ([*LPS_LINES, 'space units: "mm" "cm" "mm"'], "expected the same unit for all axes"),
        (["spacings: 2 2 3", "axis mins: 5 5 5"], "the header says axis mins, expected space directions"),
        ([*LPS_LINES, "byte skip: 4"], "the header says byte skip: 4, expected none"),
        ([*LPS_LINES, "encoding: bzip2"], "the header says encoding: bzip2, expected raw or gzip"),
        ([*LPS_LINES, "type: block"], "voxels are 'block' with 1 component(s), expected one number each"),
        ([*LPS_LINES, "endian: middle"], "the header says endian: middle, expected little or big"),
        ([*LPS_LINES, "sizes: 4 3 two"], "sizes: 4 3 two, expected 3 and three positive numbers"),
    ],
)
def test_impossible_numbers_are_refused(lines, words, tmp_path):
    assert words in refused(handmade(tmp_path / "scan.nrrd", *lines))


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("cm", 10), ("m", 1000), ("um", 1e-3), ("???", 1)])
def test_space_units_are_converted(unit, factor, tmp_path):
    side = 40 / factor
    directions = f"space directions: ({side},0,0) (0,{side},0) (0,0,{side})"
    units = f'space units: "{unit}" "{unit}" "{unit}"'
    path = handmade(tmp_path / "scan.nrrd", LPS_LINES[0], directions, f"space origin: ({side},0,0)", units)
    geometry = read_volume(path).geometry
    assert geometry.spacing_mm == pytest.approx((40, 40, 40))
    assert geometry.origin_mm == pytest.approx((40, 0, 0))


def test_unknown_unit_is_warned_of(tmp_path):
    path = handmade(tmp_path / "scan.nrrd", *LPS_LINES, 'space units: "inch" "inch" "inch"')
    with pytest.warns(DataWarning, match="which is unknown; lengths are taken as mm"):
        assert read_volume(path).geometry.spacing_mm == (2, 2, 3)


def test_trailing_axis_of_one_is_dropped(tmp_path):
    lines = (LPS_LINES[0], LPS_LINES[1] + " none")
    path = handmade(tmp_path / "scan.nrrd", *lines, sizes="4 3 2 1", dimension=4)
    assert read_volume(path).array_zyx.shape == (2, 3, 4)


def test_space_that_names_no_patient_axes_is_warned_of(tmp_path):
    path = handmade(tmp_path / "scan.nrrd", "space dimension: 3", LPS_LINES[1])
    with pytest.warns(DataWarning, match="the header says space: nothing, which names no patient axes"):
        read_volume(path)


def test_comments_and_keys_of_the_writers_own_are_no_fields(tmp_path):
    path = handmade(tmp_path / "scan.nrrd", "# sizes: 1 1 1", "Modality:=PT", *LPS_LINES)
    assert read_volume(path).geometry.size_xyz == (4, 3, 2)


def test_second_spellings_of_fields_are_known(tmp_path):
    lines = ("space: LPS", "spacedirections: (10,0,0) (0,10,0) (0,0,15)", "spaceorigin: (10,20,30)")
    path = handmade(tmp_path / "scan.nrrd", *lines, "spaceunits: cm cm cm")
    assert read_volume(path).geometry == Geometry((4, 3, 2), (100.0, 100.0, 150.0), (100.0, 200.0, 300.0))


@pytest.mark.parametrize("space", ["left-posterior-superior-time", "LPST"])
def test_series_of_one_volume_is_read(space, tmp_path):
    vectors = "space directions: (2,0,0,0) (0,2,0,0) (0,0,3,0) (0,0,0,1)"
    path = handmade(
        tmp_path / "a.nrrd", f"space: {space}", vectors, "space origin: (1,2,3,0)", sizes="4 3 2 1", dimension=4
    )
    assert read_volume(path).geometry == Geometry((4, 3, 2), (2.0, 2.0, 3.0), (1.0, 2.0, 3.0))
    sitk.WriteImage(sitk.JoinSeries([image(values(), spacing_mm=(50.0, 50.0, 60.0))]), str(tmp_path / "b.nrrd"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # ITK names no space there
        assert read_label(tmp_path / "b.nrrd").geometry.spacing_mm == (50.0, 50.0, 60.0)
