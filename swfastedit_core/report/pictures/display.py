"""The part of a scan that a report shows: cropped to the patient, in patient order, SUV in 256 steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from swfastedit_core.body import CELL_MM, Cells, find_body
from swfastedit_core.box import Box, triple
from swfastedit_core.preprocess import Placement, place
from swfastedit_core.volume import Geometry, Volume

MARGIN_MM = 12.0  # around lesions
LAST_NUMBER = 65535
SMALLEST_TILT_DEGREES = 2.0  # smaller ones are those of any patient in the scanner


@dataclass(frozen=True, eq=False)
class Display:
    """Voxels of a scan for pictures.

    The axes are the grid's axes closest to the patient's S, P, L: index 0 is nearest to the feet, the front, the
    patient's right.

    Attributes
    ----------
    grey
        uint8 [S, P, L]: 0 at the lower end of the SUV window and below, 255 at the upper end and above.
    numbers
        uint16 [S, P, L]: lesion numbers, 0 outside of lesions. Numbers above 65,535 are 65,535.
    voxel_mm
        Spacing along S, P, L.
    geometry
        Of the whole scan's file.
    box
        Which voxels of the file these are.
    placement
        How the axes of the file lie in the patient.
    suv_window
        The SUV of grey value 0 and 255.
    """

    grey: np.ndarray
    numbers: np.ndarray
    voxel_mm: tuple[float, float, float]
    geometry: Geometry
    box: Box
    placement: Placement
    suv_window: tuple[float, float]

    @property
    def tilt_degrees(self) -> float:
        """Largest angle between an axis of the grid and the patient's axis closest to it."""
        cosines = [abs(self.geometry.axes_lps[patient, file]) for patient, file in enumerate(self.placement.file_axis)]
        return float(np.degrees(np.arccos(min(1.0, *cosines))))

    def tilt_text(self) -> str:
        """Return a note for readers if the grid is oblique; empty if not."""
        if self.tilt_degrees < SMALLEST_TILT_DEGREES:
            return ""
        return f"Oblique scan: pictures follow its axes, {self.tilt_degrees:.0f}° from the patient's."

    def positions(self, centroids_xyz: Iterable[tuple[float, float, float]]) -> np.ndarray:
        """Return positions in `grey` of positions in the file's voxels.

        Parameters
        ----------
        centroids_xyz
            Along x, y, z of the file; voxel centres are whole numbers.

        Returns
        -------
        ndarray
            Along S, P, L, float64 [N, 3].
        """
        index_xyz = np.array(list(centroids_xyz), dtype=np.float64).reshape(-1, 3) - self.box.start
        order = list(reversed(self.placement.file_axis))
        index = index_xyz[:, order]
        for axis, against in enumerate(_against_spl(self.placement)):
            if against:
                index[:, axis] = self.grey.shape[axis] - 1 - index[:, axis]
        return index

    def patient_positions(self, points_mm: Iterable[tuple[float, float, float]]) -> np.ndarray:
        """Return positions in `grey`, along S, P, L, of patient coordinates L, P, S in mm."""
        offsets = np.array(list(points_mm), dtype=np.float64).reshape(-1, 3) - self.geometry.origin_mm
        index_xyz = offsets @ self.geometry.axes_lps / self.geometry.spacing_mm
        return self.positions(tuple(index) for index in index_xyz.tolist())

    def slice_mm(self) -> tuple[float, float]:
        """Return the patient coordinate S of the middle of slice 0, and the step from slice to slice, in mm."""
        axis = self.placement.file_axis[2]
        middle = (np.array(self.box.start) + self.box.stop - 1) / 2.0
        step = float(self.geometry.axes_lps[2, axis] * self.geometry.spacing_mm[axis])
        middle[axis] = self.box.stop[axis] - 1 if self.placement.flipped[2] else self.box.start[axis]
        first = self.geometry.axes_lps @ (middle * self.geometry.spacing_mm) + self.geometry.origin_mm
        return float(first[2]), abs(step)


def make_display(
    pet: Volume, numbers_zyx: np.ndarray, lesion_boxes: Iterable[Box], *, suv_window: tuple[float, float]
) -> Display:
    """Crop a scan to the patient and its lesions, put its axes in patient order and SUV in 256 steps.

    Parameters
    ----------
    pet
        SUV, of any orientation. An oblique grid stays oblique.
    numbers_zyx
        Lesion numbers on the same grid, int [Z, Y, X].
    lesion_boxes
        Boxes around the lesions, in x, y, z of the file.
    suv_window
        The SUV of grey value 0 and 255.
    """
    geometry = pet.geometry
    placement = place(geometry, geometry.spacing_mm)  # only the order and direction of the axes are used
    whole = Box.whole(geometry.size_xyz)
    margin = triple(int(np.ceil(MARGIN_MM / mm)) for mm in geometry.spacing_mm)
    boxes = [_body_box(pet), *(box.grown(margin) for box in lesion_boxes)]
    box = Box.around(boxes).clipped(whole)
    crop = tuple(reversed(box.slices))
    low, high = suv_window
    grey = np.subtract(pet.array_zyx[crop], low, dtype=np.float32)
    grey *= 255.0 / (high - low)
    np.nan_to_num(grey, copy=False, nan=0.0)
    np.clip(grey, 0.0, 255.0, out=grey)
    numbers = np.minimum(numbers_zyx[crop], LAST_NUMBER).astype(np.uint16)
    order = [2 - axis for axis in reversed(placement.file_axis)]
    turned = tuple(axis for axis, against in enumerate(_against_spl(placement)) if against)
    return Display(
        np.flip(np.rint(grey).astype(np.uint8).transpose(order), turned),
        np.flip(numbers.transpose(order), turned),
        tuple(geometry.spacing_mm[axis] for axis in reversed(placement.file_axis)),  # type: ignore[arg-type]
        geometry,
        box,
        placement,
        suv_window,
    )


def _against_spl(placement: Placement) -> tuple[bool, bool, bool]:
    """Whether the file's axes run against S, P, L."""
    right, front, up = placement.flipped
    return up, not front, not right


def _body_box(pet: Volume) -> Box:
    """Return the box around the patient; the whole scan if no patient is found."""
    geometry = pet.geometry
    cell = triple(
        max(1, min(round(CELL_MM / mm), n)) for mm, n in zip(geometry.spacing_mm, geometry.size_xyz, strict=True)
    )
    x, y, z = cell
    middles = pet.array_zyx[z // 2 :: z, y // 2 :: y, x // 2 :: x]  # a tenth of the time of means over cells
    suv = ndimage.uniform_filter(middles.astype(np.float32), size=3, mode="nearest").T
    body = find_body(Cells(suv, suv, cell, geometry.size_xyz, geometry.spacing_mm))
    return (body.box(0, geometry.size_xyz[2]) if body else None) or Box.whole(geometry.size_xyz)
