"""Maximum-intensity projections (MIP) of scans, and their plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from swfastedit_core.preprocess import place
from swfastedit_core.volume import Volume

Plane = Literal["coronal", "sagittal"]

BLACK_SUV = 7.0
LABEL_COLOUR, MASK_COLOUR = "#1f77b4", "#d62728"
# For each plane: the patient axis of the projection, and the patient axis along the rows of the picture
# (0 = left-right, 1 = posterior-anterior).
AXES: dict[Plane, tuple[int, int]] = {"coronal": (1, 0), "sagittal": (0, 1)}


@dataclass(frozen=True, eq=False)
class Mip:
    """A maximum-intensity projection.

    Attributes
    ----------
    pixels
        [rows, columns], dtype of the volume. Row 0 is nearest to the feet. Column 0 is the patient's right in
        the coronal plane and the front in the sagittal plane.
    pixel_mm
        Height and width of a pixel.
    """

    pixels: np.ndarray
    pixel_mm: tuple[float, float]


def mip(volume: Volume, *, plane: Plane = "coronal") -> Mip:
    """Project a volume along a patient axis.

    Parameters
    ----------
    volume
        PET or mask of any orientation. An oblique grid is projected along the array axis closest to the patient axis.
    plane
        The plane of the picture.
    """
    projected, across = AXES[plane]
    geometry = volume.geometry
    placement = place(geometry, geometry.spacing_mm)  # only the order and direction of the axes are used
    oriented = volume.array_zyx.transpose([2 - axis for axis in placement.file_axis])
    ras = np.flip(oriented, tuple(axis for axis in range(3) if placement.flipped[axis]))
    pixels = ras.max(axis=projected).T[:, ::-1]
    height_mm, width_mm = (geometry.spacing_mm[placement.file_axis[axis]] for axis in (2, across))
    return Mip(pixels, (height_mm, width_mm))


def plot_mip(axes: Any, suv: Mip, *, outlines: Sequence[tuple[np.ndarray, str]] = (), linewidth: float = 0.7) -> None:
    """Plot a projection on matplotlib axes: SUV 0 to 7 from white to black, with the same scale in x and y.

    Parameters
    ----------
    axes
        matplotlib axes, in mm.
    suv
        The PET.
    outlines
        Projected masks, [rows, columns] with foreground above 0, each with the colour of its outline.
    linewidth
        Width of the outlines, in points.
    """
    rows, columns = suv.pixels.shape
    height_mm, width_mm = suv.pixel_mm
    extent = (0.0, columns * width_mm, 0.0, rows * height_mm)
    axes.imshow(suv.pixels, cmap="gray_r", vmin=0, vmax=BLACK_SUV, origin="lower", extent=extent)
    # One background pixel around each mask: a mask that touches the border of the picture is outlined there as well.
    padded_extent = (-width_mm, (columns + 1) * width_mm, -height_mm, (rows + 1) * height_mm)
    for mask, colour in outlines:
        foreground = np.pad(mask > 0, 1)
        if foreground.any():
            axes.contour(foreground, [0.5], colors=colour, linewidths=linewidth, origin="lower", extent=padded_extent)
    axes.set(xlim=padded_extent[:2], ylim=padded_extent[2:])
    axes.set_axis_off()
