"""The cases of a trial: the content of /input, and whether the image has to segment or to refuse it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

LARGE_SIZE_XYZ = (400, 400, 326)  # in the challenge's data
LARGE_SPACING_MM = (2.04, 2.04, 3.0)
AIR_HU = -1024.0
LEFT_HANDED = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)  # direction with determinant -1

Write = Callable[[Path], Path]


@dataclass(frozen=True)
class Case:
    """A case.

    Attributes
    ----------
    name
        Its name in the table.
    write
        Writes the case into an empty input folder; returns the file of the PET.
    valid
        Whether the image has to write a mask; otherwise it has to refuse the case.
    expected
        Folder with a mask to compare by Dice; None leaves the comparison out. Masks of interactive networks under
        ``--task autopet4`` are not compared.
    """

    name: str
    write: Write
    valid: bool = True
    expected: Path | None = None

    def write_readable(self, folder: Path) -> Path:
        """Write the case so that all users may read it, whatever the umask; return the file of the PET."""
        pet = self.write(folder)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        return pet


def cases(shipped: Path, expected: Path | None) -> list[Case]:
    """Return the cases.

    Parameters
    ----------
    shipped
        Folder with one scan in ``images/pet``. The other cases are made from this scan.
    expected
        Folder with the mask of the shipped scan, as the container writes it; None leaves the comparison out.
    """
    (scan_file,) = sorted((shipped / "images/pet").glob("*.mha"))
    scan = sitk.ReadImage(str(scan_file))
    return [
        Case("test/input", lambda folder: _copy(shipped, folder), expected=expected),
        Case("all-zero PET with CT", lambda folder: _write_with_ct(scan * 0.0, folder)),
        Case("PET without CT, inputs.json", lambda folder: _write_with_inputs_json(scan, folder)),
        Case("left-handed PET", lambda folder: _write(_mirror(scan), folder)),
        Case("PET of 400×400×326", lambda folder: _write(_enlarge(scan), folder)),
        Case("truncated PET", lambda folder: _write_truncated(scan, folder), valid=False),
    ]


def _copy(shipped: Path, folder: Path) -> Path:
    shutil.copytree(shipped, folder, dirs_exist_ok=True)
    return next((folder / "images/pet").glob("*.mha"))


def _write(image: sitk.Image, folder: Path, name: str = "images/pet/0b6e4b0e-5f3c-4d0e-9d2b-2f3a7c1d9e11.mha") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def _write_with_ct(scan: sitk.Image, folder: Path) -> Path:
    """Write PET and CT on one grid under different names, as the challenge does."""
    ct = sitk.Cast(scan * 0.0 + AIR_HU, sitk.sitkFloat32)
    _write(ct, folder, "images/ct/c9a1f6de-73b2-4c55-8f0a-6f1e2d3c4b5a.mha")
    return _write(scan, folder)


def _write_with_inputs_json(scan: sitk.Image, folder: Path) -> Path:
    """Write a PET, the platform's list of inputs and a click file without clicks."""
    path = _write(scan, folder)
    socket = {"slug": "pet", "kind": "Image", "super_kind": "Image", "relative_path": "images/pet"}
    image = {"pk": path.stem, "name": path.name}
    (folder / "inputs.json").write_text(json.dumps([{"socket": socket, "value": None, "file": None, "image": image}]))
    clicks = {"version": {"major": 1, "minor": 0}, "type": "Multiple points", "points": []}
    (folder / "lesion-clicks.json").write_text(json.dumps(clicks))
    return path


def _mirror(scan: sitk.Image) -> sitk.Image:
    """Return the same patient on a grid whose y axis is reversed, so that the axes are left-handed."""
    array = sitk.GetArrayFromImage(scan)[:, ::-1, :]
    mirrored = sitk.GetImageFromArray(np.ascontiguousarray(array))
    mirrored.SetSpacing(scan.GetSpacing())
    mirrored.SetDirection(LEFT_HANDED)
    x, y, z = scan.GetOrigin()
    mirrored.SetOrigin((x, y + (scan.GetSize()[1] - 1) * scan.GetSpacing()[1], z))
    return mirrored


def _enlarge(scan: sitk.Image) -> sitk.Image:
    """Return the same patient, resampled in the middle of a grid of the challenge's size and spacing."""
    centre = np.array(scan.TransformContinuousIndexToPhysicalPoint([(side - 1) / 2 for side in scan.GetSize()]))
    origin = centre - (np.array(LARGE_SIZE_XYZ) - 1) / 2 * np.array(LARGE_SPACING_MM)
    identity = np.eye(3).ravel().tolist()
    return sitk.Resample(
        scan,
        LARGE_SIZE_XYZ,
        sitk.Transform(),
        sitk.sitkLinear,
        origin.tolist(),
        LARGE_SPACING_MM,
        identity,
        0.0,
        sitk.sitkFloat32,
    )


def _write_truncated(scan: sitk.Image, folder: Path) -> Path:
    """Write the first half of the file."""
    path = _write(scan, folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path
