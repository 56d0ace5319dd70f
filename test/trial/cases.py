"""The cases of a trial: what lies in /input, and what has to come of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

BIG_XYZ = (400, 400, 326)  # of the challenge's data
BIG_SPACING_MM = (2.04, 2.04, 3.0)
AIR_HU = -1024.0
MIRRORED = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)  # left-handed

Fill = Callable[[Path], Path]


@dataclass(frozen=True)
class Case:
    """A case.

    Attributes
    ----------
    name
        What the table calls it.
    fill
        Puts the case into an empty input folder; returns the PET's file.
    usable
        Whether a mask has to come of it; else a failure has to.
    expected
        Folder with the mask that has to come of it, by and large.
    """

    name: str
    fill: Fill
    usable: bool = True
    expected: Path | None = None

    def put(self, folder: Path) -> Path:
        """Fill an input folder, readable for everybody whatever the umask and the modes of the files here."""
        pet = self.fill(folder)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        return pet


def cases(shipped: Path, expected: Path | None) -> list[Case]:
    """List the cases.

    Parameters
    ----------
    shipped
        Folder with a case in ``images/pet``; the others are made from its scan.
    expected
        Folder with the mask of the shipped case, as the container writes it; None leaves the comparison out.
    """
    (scan_file,) = sorted((shipped / "images/pet").glob("*.mha"))
    scan = sitk.ReadImage(str(scan_file))
    return [
        Case("test/input", lambda folder: _copy(shipped, folder), expected=expected),
        Case("all-zero PET with CT", lambda folder: _with_ct(scan * 0.0, folder)),
        Case("PET without CT, inputs.json", lambda folder: _with_inventory(scan, folder)),
        Case("left-handed PET", lambda folder: _write(_mirrored(scan), folder)),
        Case("PET of 400×400×326", lambda folder: _write(_big(scan), folder)),
        Case("truncated PET", lambda folder: _truncated(scan, folder), usable=False),
    ]


def _copy(shipped: Path, folder: Path) -> Path:
    shutil.copytree(shipped, folder, dirs_exist_ok=True)
    return next((folder / "images/pet").glob("*.mha"))


def _write(image: sitk.Image, folder: Path, name: str = "images/pet/0b6e4b0e-5f3c-4d0e-9d2b-2f3a7c1d9e11.mha") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def _with_ct(scan: sitk.Image, folder: Path) -> Path:
    """PET and CT on one grid, as the challenge gives them: under different names."""
    ct = sitk.Cast(scan * 0.0 + AIR_HU, sitk.sitkFloat32)
    _write(ct, folder, "images/ct/c9a1f6de-73b2-4c55-8f0a-6f1e2d3c4b5a.mha")
    return _write(scan, folder)


def _with_inventory(scan: sitk.Image, folder: Path) -> Path:
    """A PET alone with the platform's list of inputs, and a click file without clicks."""
    path = _write(scan, folder)
    socket = {"slug": "pet", "kind": "Image", "super_kind": "Image", "relative_path": "images/pet"}
    image = {"pk": path.stem, "name": path.name}
    (folder / "inputs.json").write_text(json.dumps([{"socket": socket, "value": None, "file": None, "image": image}]))
    clicks = {"version": {"major": 1, "minor": 0}, "type": "Multiple points", "points": []}
    (folder / "lesion-clicks.json").write_text(json.dumps(clicks))
    return path


def _mirrored(scan: sitk.Image) -> sitk.Image:
    """The same patient on a grid whose second axis runs the other way: the determinant of its axes is -1."""
    array = sitk.GetArrayFromImage(scan)[:, ::-1, :]
    mirrored = sitk.GetImageFromArray(np.ascontiguousarray(array))
    mirrored.SetSpacing(scan.GetSpacing())
    mirrored.SetDirection(MIRRORED)
    x, y, z = scan.GetOrigin()
    mirrored.SetOrigin((x, y + (scan.GetSize()[1] - 1) * scan.GetSpacing()[1], z))
    return mirrored


def _big(scan: sitk.Image) -> sitk.Image:
    """The same patient in the challenge's largest field of view."""
    centre = np.array(scan.TransformContinuousIndexToPhysicalPoint([(side - 1) / 2 for side in scan.GetSize()]))
    origin = centre - (np.array(BIG_XYZ) - 1) / 2 * np.array(BIG_SPACING_MM)
    identity = np.eye(3).ravel().tolist()
    return sitk.Resample(
        scan,
        BIG_XYZ,
        sitk.Transform(),
        sitk.sitkLinear,
        origin.tolist(),
        BIG_SPACING_MM,
        identity,
        0.0,
        sitk.sitkFloat32,
    )


def _truncated(scan: sitk.Image, folder: Path) -> Path:
    path = _write(scan, folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path
