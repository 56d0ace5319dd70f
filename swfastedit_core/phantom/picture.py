"""A picture of phantoms: coronal maximum-intensity projections with the lesions outlined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from swfastedit_core.phantom import Phantom
from swfastedit_core.report.pictures.plots import new_figure, save_figure
from swfastedit_core.report.pictures.projection import MASK_COLOUR, mip, plot_mip

COLUMNS = 4
WIDTH_MM = 560.0  # width of the shown part; air at both sides is cut off


def write_picture(phantoms: Sequence[Phantom], path: Path) -> None:
    """Write a PNG with four phantoms a row.

    Raises
    ------
    UserError
        If matplotlib is not installed or the file cannot be written.
    """
    columns = min(COLUMNS, len(phantoms))
    rows = -(-len(phantoms) // columns)
    figure, panels = new_figure(rows, columns, size_inches=(2.7 * columns, 4.1 * rows))
    for axes, phantom in zip(panels, phantoms, strict=False):
        pet, label = mip(phantom.pet), mip(phantom.label)
        plot_mip(axes, pet, outlines=[(label.pixels, MASK_COLOUR)])
        height_mm, width_mm = np.multiply(pet.pixels.shape, pet.pixel_mm)
        axes.set(xlim=((width_mm - WIDTH_MM) / 2, (width_mm + WIDTH_MM) / 2), ylim=(0, height_mm))
        volume_ml = sum(lesion.volume_ml for lesion in phantom.lesions)
        axes.set_title(f"lesions: {len(phantom.lesions)}, {volume_ml:.0f} ml", fontsize=8)
    for axes in panels[len(phantoms) :]:
        axes.set_axis_off()
    save_figure(figure, path, dpi=110)
