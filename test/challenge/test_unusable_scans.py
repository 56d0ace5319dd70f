"""Scans that cannot be used, and places where no mask can be written, fail in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from program import MASKS, assert_failed, assert_is_mask_of_the_scan, files, scan, spoil


def bad_array(kind):
    """Return voxels, or a shape of them, that cannot be used."""
    if kind == "nan":
        return scan(np.full((9, 9, 9), np.nan))
    return sitk.GetImageFromArray(np.zeros({"2-D": (9, 9), "4-D": (2, 9, 9, 9)}[kind], np.float32), isVector=False)


CONTENTS = {
    "empty": b"",
    "text": b"not an image",
    "noise in the header": b"ObjectType = Image\nNDims = 3\nOffset = 1e400 0 0\nElementDataFile = LOCAL\n",
}
EDITS = {
    "sheared": (b"TransformMatrix = 0 -1 0", b"TransformMatrix = 1 -1 0"),
    "huge": (b"DimSize = 40 36 30", b"DimSize = 4000 3600 3000"),
    "spacing": (b"ElementSpacing = 4 4 4.5", b"ElementSpacing = 4 0 4.5"),
}


def bad_scan(folder, kind):
    """Write a scan that cannot be used; return its path."""
    path = folder / ("scan.dcm" if kind == "type" else "scan.mha")
    if kind in ("nan", "2-D", "4-D"):
        sitk.WriteImage(bad_array(kind), str(path))
    elif kind == "folder":
        path.mkdir()
    elif kind in CONTENTS:
        path.write_bytes(CONTENTS[kind])
    elif kind != "missing":
        sitk.WriteImage(scan(), str(folder / "scan.mha"), "compressed" in kind)
        content = (folder / "scan.mha").read_bytes()
        if kind in EDITS:
            assert EDITS[kind][0] in content
            content = content.replace(*EDITS[kind])
        elif kind == "compressed flipped":
            content = content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]  # in the checksum: all voxels unpack
        elif kind != "type":
            content = content[: len(content) // 2]
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "no such file"),
        ("empty", "the file is empty"),
        ("text", "the header cannot be read"),
        ("folder", "found nothing, expected scans (.mha .nii.gz .nii .nrrd)"),
        ("noise in the header", "the header says DimSize = nothing"),
        ("type", "unknown file type, expected one of .mha .nii.gz .nii .nrrd"),
        ("2-D", "2 dimensions (9×9), expected three"),
        ("4-D", "4 dimensions (9×9×9×2), expected three"),
        ("spacing", "spacing"),
        ("sheared", "not orthonormal"),
        ("huge", "the limit is 4"),
        ("truncated", "truncated"),
        ("compressed truncated", "truncated"),
        ("compressed flipped", "the compressed voxel data is damaged"),
        ("nan", "not finite"),
    ],
)
def test_unusable_scan_fails_in_one_line_and_writes_nothing(kind, words, tmp_path, weights, run):
    path = bad_scan(tmp_path, kind)
    done = run("--pet", path, "--output", tmp_path / "out", "--weights", weights / "1.safetensors")
    assert_failed(done, str(path), words)
    assert not (tmp_path / "out").exists()


def test_damaged_scan_among_others_fails_and_leaves_whole_masks_only(tmp_path, weights, run):
    (tmp_path / "images/pet").mkdir(parents=True)
    for name in ("1.mha", "2.mha"):
        sitk.WriteImage(scan(), str(tmp_path / "images/pet" / name))
    spoil(tmp_path / "images/pet/2.mha")
    done = run("--input", tmp_path, "--output", tmp_path / "out", "--weights", weights / "1.safetensors", "--quiet")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path / 'images/pet/2.mha'}: truncated, ")
    assert done.stderr.count("\n") == 1
    assert [json.loads(line)["output"] for line in done.stdout.splitlines()] == [
        str(tmp_path / "out" / MASKS / "1.mha")
    ]
    assert files(tmp_path / "out") == [MASKS / "1.mha"]
    assert_is_mask_of_the_scan(tmp_path / "out" / MASKS / "1.mha")


def test_wrong_header_among_scans_is_refused_before_any_of_them_is_processed(tmp_path, run):
    (tmp_path / "images/pet").mkdir(parents=True)
    sitk.WriteImage(scan(), str(tmp_path / "images/pet/1.mha"))
    bad_scan(tmp_path / "images/pet", "empty").rename(tmp_path / "images/pet/2.mha")
    done = run("--input", tmp_path, "--output", tmp_path / "out", "--weights", tmp_path / "not looked at")
    assert_failed(done, f"{tmp_path / 'images/pet/2.mha'}: the file is empty")
    assert not (tmp_path / "out").exists()


def test_mask_that_cannot_be_put_in_place_leaves_nothing(tmp_path, weights, run):
    sitk.WriteImage(scan(), str(tmp_path / "scan.mha"))
    (tmp_path / "out/scan.mha").mkdir(parents=True)  # a folder of the mask's name
    done = run("--pet", tmp_path / "scan.mha", "--output", tmp_path / "out", "--weights", weights / "1.safetensors")
    assert_failed(done, f"{tmp_path / 'out/scan.mha'}: is a folder, expected the name of a file to write")
    assert files(tmp_path) == [Path("scan.mha")]


def test_links_in_a_circle_are_no_file(tmp_path, weights, run):
    (tmp_path / "scan.mha").symlink_to("scan.mha")
    done = run("--pet", tmp_path / "scan.mha", "--output", tmp_path / "out", "--weights", weights)
    assert_failed(done, "scan.mha: no such file")


def test_scan_of_absurd_extent_is_refused_before_memory_is_asked_for(tmp_path, weights, run):
    image = scan()
    image.SetSpacing((900.0, 900.0, 900.0))
    sitk.WriteImage(image, str(tmp_path / "scan.mha"))
    done = run("--pet", tmp_path / "scan.mha", "--output", tmp_path / "out", "--weights", weights)
    assert_failed(done, "the scan measures 36 × 32.4 × 27 m by its header", "expected 3 m at most along an axis")
