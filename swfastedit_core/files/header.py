"""What the header of an image file says, and the checks that all formats share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swfastedit_core.errors import UserError
from swfastedit_core.files.voxels import VoxelData
from swfastedit_core.volume import Geometry

MAX_BYTES = 4 * 2**30  # of the volume as float32
FILE_SPACING_MM = (1e-3, 1e3)  # far beyond any scanner
MAX_EXTENT_M = 3.0  # along an axis: more than any scanner's bed
ORTHONORMAL_TOLERANCE = 1e-3  # NIfTI stores its axes as float32


@dataclass(frozen=True)
class ImageHeader:
    """The header of an image file.

    Attributes
    ----------
    geometry
        The grid, checked.
    data
        Where the voxels lie, and how their numbers are stored.
    program
        Program that wrote the file, where the header names it; else empty.
    warnings
        What is ambiguous about the header, one sentence each, with the file's name.
    """

    geometry: Geometry
    data: VoxelData
    program: str = ""
    warnings: tuple[str, ...] = ()


def three_sizes(path: Path, size: Sequence[int]) -> tuple[int, int, int]:
    """Return the size along x, y, z. Further axes of one voxel are dropped.

    Raises
    ------
    UserError
        If there are not three axes, an axis has no voxel, or the volume is too large.
    """
    in_words = "×".join(map(str, size))
    if len(size) < 3 or any(side != 1 for side in size[3:]):
        raise UserError(f"{path}: {len(size)} dimensions ({in_words}), expected three: one static volume")
    x, y, z = size[:3]
    if min(x, y, z) < 1:
        raise UserError(f"{path}: size {in_words}, expected at least one voxel along each axis")
    if 4 * x * y * z > MAX_BYTES:
        raise UserError(
            f"{path}: {x}×{y}×{z} voxels need {4 * x * y * z / 2**30:.1f} GiB as float32, "
            f"the limit is {MAX_BYTES // 2**30}"
        )
    return x, y, z


def not_one_number(path: Path, kind: str, components: int = 1) -> UserError:
    """Return the error for voxels that are not single real numbers.

    Parameters
    ----------
    path
        The image.
    kind
        How its header names the type.
    components
        Numbers for each voxel.
    """
    return UserError(f"{path}: voxels are {kind} with {components} component(s), expected one number each")


def check_geometry(path: Path, geometry: Geometry) -> None:
    """Check a grid.

    Raises
    ------
    UserError
        If a spacing is not positive or beyond any scanner, an axis is longer than three metres, the origin is not
        finite, or the axes are not orthonormal.
    """
    low, high = FILE_SPACING_MM
    if not all(low <= mm <= high for mm in geometry.spacing_mm):
        raise UserError(f"{path}: voxel spacing {geometry.spacing_mm} mm, expected three numbers from {low} to {high}")
    if not np.isfinite(geometry.origin_mm).all():
        raise UserError(f"{path}: origin {geometry.origin_mm} mm is not finite")
    axes = geometry.axes_lps
    if not np.allclose(axes.T @ axes, np.eye(3), atol=ORTHONORMAL_TOLERANCE):
        raise UserError(
            f"{path}: the axes {tuple(round(d, 4) for d in geometry.direction)} are not orthonormal (sheared or "
            "scaled); resample the scan first"
        )
    if max(geometry.extent_mm) > 1000 * MAX_EXTENT_M:
        in_words = " × ".join(f"{mm / 1000:.3g}" for mm in geometry.extent_mm)
        raise UserError(
            f"{path}: the scan measures {in_words} m by its header, expected {MAX_EXTENT_M:g} m at most along an axis; "
            "is the voxel spacing in mm?"
        )
