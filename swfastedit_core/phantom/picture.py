"""A picture of phantoms: coronal maximum-intensity projections with the lesions outlined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from swfastedit_core.errors import UserError
from swfastedit_core.phantom import Phantom
from swfastedit_core.system.atomic import replacing

SUV_BLACK = 7.0
HALF_WIDTH_MM = 280.0


def draw_picture(phantoms: Sequence[Phantom], path: Path) -> None:
    """Draw axis-aligned phantoms in one row per four, inverted grey from SUV 0 to 7, in true proportions.

    Raises
    ------
    UserError
        If matplotlib is missing or the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("the picture needs matplotlib: pip install matplotlib") from error
    columns = min(4, len(phantoms))
    rows = -(-len(phantoms) // columns)
    figure = Figure(figsize=(2.7 * columns, 4.1 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, phantom in zip(figure.subplots(rows, columns, squeeze=False).ravel(), phantoms, strict=False):
        geometry = phantom.pet.geometry
        (x, _, z), (size_x, _, size_z) = geometry.spacing_mm, geometry.size_xyz
        extent = (0.0, size_x * x, 0.0, size_z * z)
        axes.imshow(
            phantom.pet.array_zyx.max(axis=1),
            cmap="gray_r",
            vmin=0,
            vmax=SUV_BLACK,
            origin="lower",
            extent=extent,
        )
        outline = phantom.label.array_zyx.max(axis=1)
        if outline.any():
            axes.contour(outline, [0.5], colors="#d62728", linewidths=0.7, origin="lower", extent=extent)
        volume_ml = sum(lesion.volume_ml for lesion in phantom.lesions)
        middle = size_x * x / 2
        axes.set_xlim(middle - HALF_WIDTH_MM, middle + HALF_WIDTH_MM)
        axes.set_title(f"lesions: {len(phantom.lesions)}, {volume_ml:.0f} ml", fontsize=8)
    for axes in figure.axes:
        axes.set_axis_off()
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=110)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: the picture cannot be written ({error})") from error
