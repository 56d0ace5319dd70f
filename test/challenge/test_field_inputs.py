"""Ambiguous and false inputs through the real command line; docs/errors.md holds what is said about each."""

from __future__ import annotations

import importlib.util
import json

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from field_inputs import INPUTS, itk, page, plain_image, values
from places import ROOT, SHARED, real

from swfastedit_core import Geometry, Volume, write_mask
from swfastedit_core.files.write import is_own_mask
from swfastedit_core.metrics.overlap import dice


def call(run, folder, path, weights):
    """Segment a file; return the exit code, the mask or None, the warnings, and the line on standard error."""
    weights_and_speed = ("--weights", weights / "1.safetensors", "--overlap", "0", "--quiet")
    done = run("--pet", path, "--output", folder / "masks", *weights_and_speed)
    if done.returncode:
        assert not list((folder / "masks").glob("*")) or not (folder / "masks" / path.name).exists()
        assert (done.stdout, done.stderr.count("\n")) == ("", 1)
        return done.returncode, None, [], done.stderr.strip()
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()  # no library prints anything
    record = json.loads(line)
    return 0, sitk.GetArrayFromImage(sitk.ReadImage(record["output"])), record["warnings"], ""


def test_every_input_is_right_warned_of_or_refused_as_the_page_says(run, weights, tmp_path):
    itk()(tmp_path / "plain.mha")
    _, plain, warned, _ = call(run, tmp_path, tmp_path / "plain.mha", weights)
    assert (plain.any(), plain.all(), warned) == (True, False, [])
    rows, wrong = [], []
    for one in INPUTS:
        path = tmp_path / one.file
        one.write(path)
        code, mask, warned, line = call(run, tmp_path, path, weights)
        rows.append((one, "; ".join(warned or ([line] if line else [])).replace(f"{tmp_path}/", "")))
        as_expected = {
            "right": code == 0 and not warned and mask is not None and np.array_equal(mask.squeeze(), plain),
            "warning": code == 0 and any(one.words in text for text in warned),
            "error": code == 1 and one.words in line,
        }[one.expect]
        if not as_expected:
            wrong.append((one.file, code, warned or line))
    assert wrong == []
    assert page(rows) == (ROOT / "docs" / "errors.md").read_text(), "run python test/field_inputs.py docs/errors.md"


CASES = SHARED / "cases" / "field_cases.py"
WORDS = {  # of the message about each case
    "sform_mirrored.nii.gz": "left and right", "pixdim_ones.nii.gz": "sform and pixdim give voxels of",
    "no_codes.nii.gz": "no patient axes", "sheared.nii.gz": "shears the scan", "nan.nii.gz": "not finite numbers",
    "some_nan.nii.gz": "27 voxels were not finite", "dim_negative.nii.gz": "72×72×-72", "slope.mha": "were scaled",
    "spacing_nan.nrrd": "4.6875 nan", "giant_voxels.mha": "at most along an axis", "times_five.mha": "kBq/ml",
    "normalised.mha": "divided by their maximum", "bytes.mha": "8 bits", "z_score.mha": "z-scores",
    "pointer.mha": "git lfs pull",
}  # fmt: skip


@real(SHARED / "cases")
def test_cases_from_the_field_on_a_real_scan(run, tmp_path):
    spec = importlib.util.spec_from_file_location("field_cases", CASES)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cases = module.write(tmp_path / "cases")
    weights = ("--weights", ROOT / "weights", "--precision", "float32", "--quiet")

    def segment(name):
        done = run("--pet", tmp_path / "cases" / name, "--output", tmp_path / "masks", *weights)
        record = json.loads(done.stdout) if done.returncode == 0 else None
        mask = sitk.GetArrayFromImage(sitk.ReadImage(record["output"])) if record else None
        return done, mask, record and record["warnings"]

    # The integers of bitpix.nii.gz wrap around above SUV 32.8. Another file with these integers gives its mask.
    wrapped = np.asarray(nibabel.load(tmp_path / "cases" / "_i.nii.gz").dataobj).T * np.float32(0.001)
    image = sitk.GetImageFromArray(wrapped.astype(np.float32))
    image.CopyInformation(sitk.ReadImage(str(tmp_path / "cases" / "base.mha")))
    sitk.WriteImage(image, str(tmp_path / "cases" / "wrapped.mha"))
    _, of_wrapped, _ = segment("wrapped.mha")
    _, base, warned = segment("base.mha")
    assert (base.sum() > 1000, warned) == (True, [])
    wrong = []
    for case in cases:
        done, mask, warned = segment(case["name"])
        mask = None if mask is None else mask.squeeze()
        expected = of_wrapped if case["name"] == "bitpix.nii.gz" else base
        right = mask is not None and mask.shape == base.shape and dice(expected, mask) >= 0.98
        refused = done.returncode == 1 and done.stderr.count("\n") == 1 and done.stdout == ""
        text = " ".join([done.stderr, *(warned or [])])
        by_expectation = {"right": right, "warn": bool(warned), "refuse": refused, "either": right or refused}
        met = by_expectation[case["expect"]] and WORDS.get(case["name"], "") in text
        if case["name"] == "some_nan.nii.gz":
            met = met and right
        if not met:
            wrong.append((case, done.returncode, done.stderr, warned))
    assert wrong == []


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz"])
def test_file_that_the_program_did_not_write_is_replaced_only_if_asked_for(suffix, run, weights, tmp_path):
    (tmp_path / "images").mkdir()
    scan, label = tmp_path / "images" / f"a{suffix}", tmp_path / "labels" / f"a{suffix}"
    sitk.WriteImage(plain_image(), str(scan))
    label.parent.mkdir()
    sitk.WriteImage(sitk.GetImageFromArray((values() > 5).astype(np.uint8)), str(label))
    manual = label.read_bytes()
    command = ("--pet", scan, "--output", label.parent, "--weights", weights / "1.safetensors", "--quiet")
    done = run(*command)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"{label}: the file exists and is no unchanged mask of this program; choose another --output, or replace it "
        "with --overwrite\n"
    )
    assert label.read_bytes() == manual
    assert run(*command, "--overwrite").returncode == 0
    assert label.read_bytes() != manual
    assert run(*command).returncode == 0  # its own mask


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nii", ".nrrd"])
def test_own_mask_is_replaced_until_somebody_edits_it(suffix, run, weights, tmp_path):
    mask = tmp_path / "out" / f"a{suffix}"
    sitk.WriteImage(plain_image(), str(tmp_path / f"a{suffix}"))
    command = ("--pet", tmp_path / f"a{suffix}", "--output", tmp_path / "out", "--weights", weights / "1.safetensors")
    for _ in range(2):
        assert run(*command).returncode == 0
    if suffix.startswith(".nii"):  # as an annotator's tool saves it, with the header's text
        image = nibabel.load(mask)
        edited = np.asarray(image.dataobj).copy()
        edited[0, 0, 0] = 1 - edited[0, 0, 0]
        header = image.header.copy()
        nibabel.save(nibabel.Nifti1Image(edited, image.affine, header), mask)
    else:
        edited = sitk.ReadImage(str(mask))
        edited[0, 0, 0] = 1 - edited[0, 0, 0]
        sitk.WriteImage(edited, str(mask), True)
    content = mask.read_bytes()
    assert run(*command).returncode == 1
    assert mask.read_bytes() == content


def test_mask_with_other_numbers_is_not_taken_for_an_own_one(tmp_path):
    """257 is 1 in eight bits: the checksum of the voxels alone would not tell."""
    mask = np.zeros((4, 5, 6), np.uint8)
    mask[1, 2, 3] = 1
    write_mask(Volume(mask, Geometry((6, 5, 4), (50.0, 50.0, 50.0))), tmp_path / "a.mha")
    assert is_own_mask(tmp_path / "a.mha")
    image = sitk.ReadImage(str(tmp_path / "a.mha"))
    other = sitk.GetImageFromArray(mask.astype(np.int16) * 257)
    other.CopyInformation(image)
    other.SetMetaData("CreatedBy", image.GetMetaData("CreatedBy"))
    sitk.WriteImage(other, str(tmp_path / "a.mha"), True)
    assert not is_own_mask(tmp_path / "a.mha")


def test_geometry_that_is_named_settles_a_contradiction(run, weights, tmp_path):
    (mirrored,) = (one for one in INPUTS if one.file == "mirrored.nii.gz")
    mirrored.write(tmp_path / mirrored.file)
    itk()(tmp_path / "plain.mha")
    common = ("--output", tmp_path / "masks", "--weights", weights / "1.safetensors", "--quiet")
    plain = json.loads(run("--pet", tmp_path / "plain.mha", *common).stdout)
    found = {}
    for form in ("qform", "sform"):
        done = run("--pet", tmp_path / mirrored.file, *common, "--geometry", form)
        record = json.loads(done.stdout)
        assert record["warnings"] == []
        found[form] = sitk.GetArrayFromImage(sitk.ReadImage(record["output"]))
    expected = sitk.GetArrayFromImage(sitk.ReadImage(plain["output"]))
    np.testing.assert_array_equal(found["qform"], expected)
    assert (found["sform"] != expected).any()


def test_scan_that_memory_cannot_hold_is_refused_before_the_work(run, weights, tmp_path, monkeypatch):
    monkeypatch.setattr("swfastedit_core.system.memory.usable_memory_bytes", lambda: 1_000_000)
    itk()(tmp_path / "scan.mha")
    done = run("--pet", tmp_path / "scan.mha", "--output", tmp_path / "out", "--weights", weights / "1.safetensors")
    assert done.returncode == 1
    # 36 × 32 × 24 voxels of 8 × 8 × 9 mm at 4 mm
    assert (
        "71×63×53 voxels at the network's spacing need more than 0.00 GB, and 0.00 GB of memory are free" in done.stderr
    )
