"""Volumes: voxels of a PET, a CT or a mask, and their grid in the patient."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np

AIR_HU = -1024.0  # scanners write it in voxels without a measurement


@dataclass(frozen=True)
class NiftiForms:
    """The coordinates in a NIfTI header, as they are stored: a mask carries those of its scan.

    The names are those of nifti1.h, https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h.

    Attributes
    ----------
    pixdim
        The first four: qfac and the voxel sizes along x, y, z.
    units
        Code of the units, xyzt_units.
    qform_code, sform_code
        What the coordinates refer to; 0: there are none.
    quaternion, offset
        b, c, d and x, y, z of the qform.
    srow
        The 3×4 matrix of the sform, row by row.
    """

    pixdim: tuple[float, ...]
    units: int
    qform_code: int
    sform_code: int
    quaternion: tuple[float, float, float]
    offset: tuple[float, float, float]
    srow: tuple[float, ...]


@dataclass(frozen=True)
class Geometry:
    """A voxel grid in the patient: LPS coordinates in millimetres, as in DICOM and SimpleITK.

    Attributes
    ----------
    size_xyz
        Number of voxels along the three array axes, x (fastest) first.
    spacing_mm
        Distance of voxel centres along x, y, z.
    origin_mm
        Patient coordinates of the centre of voxel (0, 0, 0).
    direction
        Orthonormal 3×3 matrix, row by row; column i is the direction of array axis i (x, y, z) in the patient.
    nifti
        The coordinates of the NIfTI file that the grid was read from, else None. Not compared.
    unit
        Length unit of the MetaImage or NRRD file that the grid was read from, as it is spelt there. Not compared.
    """

    size_xyz: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    nifti: NiftiForms | None = field(default=None, compare=False, repr=False)
    unit: str = field(default="mm", compare=False, repr=False)

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Shape of an array on this grid, [Z, Y, X]."""
        x, y, z = self.size_xyz
        return z, y, x

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Length of the grid along x, y, z, from the outer faces of its voxels."""
        (x, y, z), (x_mm, y_mm, z_mm) = self.size_xyz, self.spacing_mm
        return x * x_mm, y * y_mm, z * z_mm

    @property
    def axes_lps(self) -> np.ndarray:
        """The direction as a float64 array [3, 3]: column i is array axis i (x, y, z) in LPS."""
        return np.array(self.direction, dtype=np.float64).reshape(3, 3)

    @property
    def corners_mm(self) -> np.ndarray:
        """Patient coordinates (L, P, S) of the eight outermost voxel centres, float64 [8, 3]."""
        index_xyz = np.array(list(product(*((0, side - 1) for side in self.size_xyz))))
        corners: np.ndarray = index_xyz * self.spacing_mm @ self.axes_lps.T + self.origin_mm
        return corners


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels and their geometry.

    Attributes
    ----------
    array_zyx
        Values, [Z, Y, X]: SUV or HU as float32, or a mask as uint8.
    geometry
        The grid. Its size is the array's shape reversed.
    """

    array_zyx: np.ndarray
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.array_zyx.shape != self.geometry.shape_zyx:
            raise ValueError(f"array {self.array_zyx.shape} on a grid of {self.geometry.shape_zyx} [Z, Y, X]")
