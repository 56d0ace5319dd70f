"""The checks of the output folder: the mask, files of other sockets, a report if one is wanted, and no other file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from trial.image import Check

GEOMETRY_MM = 1e-3
MIN_DICE = 0.95  # the expected mask may be from another machine: processors round bfloat16 differently
REPORT = ("lesions.csv", "mip.png", "report.html", "report.json")


@dataclass(frozen=True)
class ExpectedFiles:
    """The files that must lie in /output after a success.

    Attributes
    ----------
    socket
        Folder of the mask below /output.
    mask_folder
        Folder with a mask to compare by Dice; None leaves the comparison out.
    json_values
        Names and contents of JSON files that must lie in /output.
    report
        Folder of the report below /output; None: no report.
    """

    socket: Path
    mask_folder: Path | None = None
    json_values: tuple[tuple[str, object], ...] = ()
    report: Path | None = None


def check_output(output: Path, expected: ExpectedFiles, pet: Path) -> list[Check]:
    """Check the output folder of a case that succeeded; `pet` is the scan, whose grid the mask must have."""
    present = sorted(path for path in output.rglob("*") if not path.is_dir())
    found = [path for path in present if path.is_relative_to(output / expected.socket)]
    names = ", ".join(path.name for path in found) or "nothing"
    checks = [
        Check("exactly one .mha", [path.suffix for path in found] == [".mha"], f"{expected.socket}: {names}"),
        _check_others([path for path in present if path not in found], output, expected),
    ]
    for name, value in expected.json_values:
        content = (output / name).read_text() if (output / name).is_file() else "nothing"
        checks.append(Check(name, content == json.dumps(value), content))
    if expected.report is not None:
        checks.append(_check_report(output / expected.report, found))
    masks = [path for path in found if path.suffix == ".mha"]
    if masks:
        checks += _check_mask(masks[0], pet, expected.mask_folder)
    return checks


def _check_others(files: list[Path], output: Path, expected: ExpectedFiles) -> Check:
    """Check that no file lies in /output that no socket and no option asks for."""
    wanted = {Path(name) for name, _ in expected.json_values}
    if expected.report is not None:
        wanted |= {expected.report / name for name in REPORT}
    more = [str(name) for name in (path.relative_to(output) for path in files) if name not in wanted]
    return Check("no other file in /output", not more, ", ".join(more[:3]))


def _check_report(folder: Path, masks: list[Path]) -> Check:
    """Check that a report is complete, and that its lesions have as many voxels as the mask."""
    missing = [name for name in REPORT if not (folder / name).is_file() or not (folder / name).stat().st_size]
    if missing:
        return Check("report", False, f"no {', '.join(missing)}")
    try:
        voxels = sum(lesion["voxels"] for lesion in json.loads((folder / "report.json").read_bytes())["lesions"])
        marked = sum(int(np.count_nonzero(sitk.GetArrayFromImage(sitk.ReadImage(str(mask))))) for mask in masks)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        return Check("report", False, f"report.json or the mask cannot be read: {error}")
    return Check("report", voxels == marked, f"{voxels} voxels in lesions, {marked} in the mask")


def _check_mask(file: Path, pet: Path, mask_folder: Path | None) -> list[Check]:
    try:
        mask = sitk.ReadImage(str(file))
    except RuntimeError as error:
        return [Check("mask can be read", False, str(error).splitlines()[-1])]
    array = sitk.GetArrayFromImage(mask)
    values = np.unique(array)
    pixel_type = mask.GetPixelIDTypeAsString()
    right = mask.GetPixelID() == sitk.sitkUInt8 and set(values.tolist()) <= {0, 1}
    shown = " ".join(f"{value:g}" for value in values[:4])
    checks = [Check("mask is uint8 of 0 and 1", right, f"{pixel_type}: {shown}"), _check_geometry(mask, pet)]
    if mask_folder is not None:
        checks.append(_check_dice(array, mask_folder))
    return checks


def _check_geometry(mask: sitk.Image, pet: Path) -> Check:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(pet))
    reader.ReadImageInformation()
    pairs = (
        ("size", mask.GetSize(), reader.GetSize()),
        ("spacing", mask.GetSpacing(), reader.GetSpacing()),
        ("origin", mask.GetOrigin(), reader.GetOrigin()),
        ("direction", mask.GetDirection(), reader.GetDirection()),
    )
    wrong = [
        f"{name} {a}, the PET's is {b}"
        for name, a, b in pairs
        if len(a) != len(b) or not np.allclose(a, b, rtol=0, atol=GEOMETRY_MM)
    ]
    return Check("geometry equals the PET's", not wrong, "; ".join(wrong))


def _check_dice(mask: np.ndarray, folder: Path) -> Check:
    from swfastedit_core.metrics.overlap import agreement_dice  # imports torch

    files = sorted(folder.rglob("*.mha"))
    if len(files) != 1:
        return Check("Dice against expected_output", False, f"{folder} holds {len(files)} masks, expected one")
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(files[0])))
    if truth.shape != mask.shape:
        return Check("Dice against expected_output", False, f"shape {mask.shape}, expected {truth.shape}")
    value = agreement_dice(truth, mask)
    return Check("Dice against expected_output", value >= MIN_DICE, f"{value:.4f}, expected {MIN_DICE} at least")
