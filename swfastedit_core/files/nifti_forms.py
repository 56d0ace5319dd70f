"""The coordinates of a NIfTI header: qform, sform and pixdim, which may contradict each other.

Formulas from nifti1.h (https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h).
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from swfastedit_core.errors import UserError
from swfastedit_core.files.header import ORTHONORMAL_TOLERANCE
from swfastedit_core.volume import Geometry, NiftiForms

Form = Literal["auto", "qform", "sform"]
FORMS: tuple[Form, ...] = ("auto", "qform", "sform")
RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
UNITS_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}  # code in xyzt_units; 0: not given
SIZE_TOLERANCE = 0.01  # voxel sizes that differ by less are rounded ones
SAME_PLACE = 0.1  # of a voxel: corners of a scan that differ by less are in the same place


def geometry_of(
    path: Path, forms: NiftiForms, size_xyz: tuple[int, int, int], form: Form
) -> tuple[Geometry, tuple[str, ...]]:
    """Choose between the forms; return the grid in LPS, and what is ambiguous about it.

    The sform is taken where its code is above 0, else the qform, as nibabel, FSL and SPM do.

    Parameters
    ----------
    path
        The image, for messages.
    forms
        What the header says.
    size_xyz
        Voxels along x, y, z.
    form
        "qform" or "sform" to take that one, where it exists, whatever the other says; "auto" to compare them.

    Raises
    ------
    UserError
        If forms differ in voxel size or handedness, or the one that is taken is no grid of a scan.
    """
    unit = forms.units & 7
    mm = UNITS_MM.get(unit, 1.0)
    odd: tuple[str, ...] = ()
    if unit not in UNITS_MM:
        odd = (f"{path}: the header gives the length unit as code {unit}, which is unknown; lengths are taken as mm",)
    codes = {"qform": forms.qform_code, "sform": forms.sform_code}
    if form != "auto" and codes[form] <= 0:
        form = "auto"  # the option settles contradictions; this file has none
    taken = form if form != "auto" else next((name for name in ("sform", "qform") if codes[name] > 0), "pixdim")
    affines = {name: affine for name in ("sform", "qform") if (affine := _affine(forms, name)) is not None}
    if taken == "qform" or taken == "pixdim":
        _require_pixdim(path, forms)
    if taken == "pixdim":
        affine = np.diag([*forms.pixdim[1:], 1.0])
        odd += (
            f"{path}: the header gives no patient axes (qform and sform codes are 0); x, y, z of the array are taken "
            "for right, anterior, superior",
        )
    else:
        affine = affines[taken]
        _require_orthogonal(path, affine, taken, other_exists=len(affines) > 1, asked=form != "auto")
        if form == "auto" and taken == "sform" and "qform" in affines and not np.isfinite(affines["qform"]).all():
            del affines["qform"]
            odd += (f"{path}: the qform has values that are not finite; the sform was taken",)
        elif form == "auto":
            odd += _compare(path, forms, affines, size_xyz)
    return _grid(affine, size_xyz, mm), odd


def forms_of(geometry: Geometry) -> NiftiForms:
    """Return the forms of a grid: qform and sform alike, both with the code of scanner coordinates, in mm."""
    if geometry.nifti is not None:
        forms = geometry.nifti  # a form that is not used may hold anything, also what float32 cannot
        offset = forms.offset
        return replace(
            forms,
            quaternion=(_float32(forms.quaternion[0]), _float32(forms.quaternion[1]), _float32(forms.quaternion[2])),
            offset=(_float32(offset[0]), _float32(offset[1]), _float32(offset[2])),
            srow=tuple(map(_float32, forms.srow)),
            pixdim=tuple(map(_float32, forms.pixdim)),
            units=forms.units & 0xFF,
        )
    axes = geometry.axes_lps * RAS_TO_LPS[:, None]
    left_handed = np.linalg.det(axes) < 0
    rotation = axes * ([1.0, 1.0, -1.0] if left_handed else [1.0, 1.0, 1.0])
    b, c, d = _quaternion(rotation)
    origin = np.array(geometry.origin_mm) * RAS_TO_LPS
    rows = np.column_stack([axes * geometry.spacing_mm, origin])
    return NiftiForms(
        pixdim=(-1.0 if left_handed else 1.0, *geometry.spacing_mm),
        units=2,
        qform_code=1,
        sform_code=1,
        quaternion=(b, c, d),
        offset=(float(origin[0]), float(origin[1]), float(origin[2])),
        srow=tuple(float(value) for value in rows.ravel()),
    )


def _float32(value: float) -> float:
    return value if abs(value) <= float(np.finfo(np.float32).max) else 0.0


def _affine(forms: NiftiForms, name: str) -> np.ndarray | None:
    """Return the 4×4 matrix from voxels to RAS in the header's unit; None where the form does not exist."""
    if name == "sform":
        return np.vstack([np.reshape(forms.srow, (3, 4)), [0, 0, 0, 1]]) if forms.sform_code > 0 else None
    if forms.qform_code <= 0:
        return None
    qfac = -1.0 if forms.pixdim[0] < 0 else 1.0
    affine = np.eye(4)
    with np.errstate(invalid="ignore"):  # a pixdim of infinity is refused later
        affine[:3, :3] = _rotation(*forms.quaternion) * np.array(forms.pixdim[1:]) * [1, 1, qfac]
    affine[:3, 3] = forms.offset
    return affine


def _rotation(b: float, c: float, d: float) -> np.ndarray:
    """Return the rotation matrix of a unit quaternion without its first part a, which is not negative."""
    length = b * b + c * c + d * d
    a = math.sqrt(max(1.0 - length, 0.0))
    if a * a < 1e-7:  # half a turn, rounded to float32: as niftilib does
        a = 0.0
        b, c, d = (part / math.sqrt(length) for part in (b, c, d))
    return np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ])  # fmt: skip


def _quaternion(rotation: np.ndarray) -> tuple[float, float, float]:
    """Return b, c, d of a rotation matrix: the inverse of `_rotation`.

    The quaternion is the eigenvector of the largest eigenvalue of a symmetric matrix: I. Y. Bar-Itzhack, New method for
    extracting the quaternion from a rotation matrix, J. Guidance 23(6):1085, 2000. No angle needs a case of its own.
    """
    r = rotation
    lower = np.array([
        [r[0, 0] + r[1, 1] + r[2, 2], 0, 0, 0],
        [r[2, 1] - r[1, 2], r[0, 0] - r[1, 1] - r[2, 2], 0, 0],
        [r[0, 2] - r[2, 0], r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2], 0],
        [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1]],
    ])  # fmt: skip
    a, b, c, d = np.linalg.eigh(lower)[1][:, -1]  # eigh reads the lower triangle
    return (float(b), float(c), float(d)) if a >= 0 else (float(-b), float(-c), float(-d))


def _require_pixdim(path: Path, forms: NiftiForms) -> None:
    if not all(0 < size < math.inf for size in forms.pixdim[1:]):
        raise UserError(f"{path}: voxel spacing {forms.pixdim[1:]} mm, expected three positive numbers")


def _require_orthogonal(path: Path, affine: np.ndarray, name: str, *, other_exists: bool, asked: bool) -> None:
    columns = affine[:3, :3]
    sizes = np.linalg.norm(columns, axis=0)
    if not np.isfinite(affine).all() or not sizes.all():
        problem = "has no voxel size or values that are not finite"
    elif not np.allclose((columns / sizes).T @ (columns / sizes), np.eye(3), atol=ORTHONORMAL_TOLERANCE):
        problem = "has axes that are not orthogonal (it shears the scan)"
    else:
        return
    other = "qform" if name == "sform" else "sform"
    way_out = f"use --geometry {other} if that is right" if other_exists and not asked else "resample the scan first"
    raise UserError(f"{path}: the {name} {problem}; {way_out}")


def _compare(
    path: Path, forms: NiftiForms, affines: dict[str, np.ndarray], size_xyz: tuple[int, int, int]
) -> tuple[str, ...]:
    """Refuse forms that give the voxels other sizes or another handedness; return a warning about another place."""
    sizes = {name: np.linalg.norm(affine[:3, :3], axis=0) for name, affine in affines.items()}
    if "qform" not in sizes:  # the qform's voxel sizes are pixdim
        sizes["pixdim"] = np.abs(np.array(forms.pixdim[1:]))
    first, *others = sizes
    for other in others:
        if not np.allclose(sizes[first], sizes[other], rtol=SIZE_TOLERANCE, atol=0):
            in_words = {name: "×".join(f"{value:.4g}" for value in sizes[name]) for name in (first, other)}
            ways = " or ".join(f"--geometry {name}" for name in sorted(affines))
            raise UserError(
                f"{path}: {first} and {other} give voxels of {in_words[first]} and {in_words[other]}; say which is "
                f"right with {ways}"
            )
    if len(affines) < 2:
        return ()
    sform, qform = affines["sform"], affines["qform"]
    if np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
        raise UserError(
            f"{path}: sform and qform contradict each other about left and right: the axes run to "
            f"{_axes(sform)} and to {_axes(qform)}; say which is right with --geometry sform or --geometry qform"
        )
    corners = np.array(np.meshgrid(*[(0, side - 1) for side in size_xyz], [1.0])).reshape(4, -1)
    apart = float(np.linalg.norm(((sform - qform) @ corners)[:3], axis=0).max())
    if apart <= SAME_PLACE * float(sizes["sform"].min()):
        return ()
    return (
        f"{path}: sform and qform lay the scan in places up to {apart:.3g} mm apart; the sform was taken "
        "(--geometry qform takes the other)",
    )


def _axes(affine: np.ndarray) -> str:
    """Name the patient directions of the array axes, as "RAS"."""
    columns = affine[:3, :3]
    closest = np.abs(columns).argmax(axis=0)
    return "".join("LPS"[row] if columns[row, axis] < 0 and row < 2 else "RAS"[row] if columns[row, axis] > 0 else "I"
                   for axis, row in enumerate(closest))  # fmt: skip


def _grid(affine: np.ndarray, size_xyz: tuple[int, int, int], mm: float) -> Geometry:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    u, _, vt = np.linalg.svd(affine[:3, :3] / spacing)  # the closest orthonormal axes: the header rounds to float32
    axes = RAS_TO_LPS[:, None] * (u @ vt)
    if np.allclose(np.abs(axes).max(axis=0), 1, rtol=0, atol=1e-9):
        axes = np.rint(axes)  # an exact permutation stays one
    # Another unit moves the last digit of float32: 0.008 m is 8 mm, not 8.0000004.
    x, y, z = (size if mm == 1.0 else float(f"{size:.7g}") * mm for size in spacing.tolist())
    left, posterior, superior = (affine[:3, 3] * RAS_TO_LPS * mm + 0.0).tolist()
    direction = tuple(float(cosine) for cosine in axes.ravel() + 0.0)
    return Geometry(size_xyz, (x, y, z), (left, posterior, superior), direction)
