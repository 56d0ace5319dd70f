"""The picture in the README: ``python -m bench.picture --output docs/segmentation.png``.

Segments a phantom with the shipped weights and plots two projections with the outlines of label and mask.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from swfastedit_core import load_networks, segment
from swfastedit_core.errors import UserError
from swfastedit_core.metrics.overlap import dice, false_negative_ml, false_positive_ml
from swfastedit_core.phantom import make_phantom
from swfastedit_core.report.pictures.plots import new_figure, save_figure
from swfastedit_core.report.pictures.projection import LABEL_COLOUR, MASK_COLOUR, Mip, Plane, mip, plot_mip
from swfastedit_core.system.command import Parser, path_argument, require_writable, run_command, say
from swfastedit_core.volume import Volume

SEED = 7_800_009  # phantom_78_0009: ten lesions from neck to pelvis
AIR_SUV = 0.2  # columns and rows whose pixels are all at most this SUV are cut off
MARGIN_MM = 15.0
LOWEST_PART = 0.12  # share of the height that is cut off at the bottom: mostly thighs
PIXELS_PER_MM, TITLE_PIXELS, DPI = 0.58, 30, 150


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = Parser(prog="python -m bench.picture", description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, default=SEED, help="seed of the phantom (default: %(default)s)")
    add("--weights", type=path_argument, default=Path("weights"), help="default: %(default)s/")
    add("--output", type=path_argument, required=True, metavar="PNG", help="file for the picture")
    return run_command(lambda _: _run(parser.parse_args(arguments)))


def _run(options: argparse.Namespace) -> None:
    if options.seed < 0:
        raise UserError(f"--seed {options.seed}: expected 0 or more")
    require_writable(options.output)
    phantom = make_phantom(options.seed)
    result = segment(phantom.pet, load_networks(options.weights))
    write_picture(phantom.pet, phantom.label, result.mask, options.output)
    label, mask, voxel_ml = phantom.label.array_zyx, result.mask.array_zyx, phantom.label.geometry.voxel_ml
    say(
        f"phantom of seed {options.seed}: {len(phantom.lesions)} lesions, {np.count_nonzero(label) * voxel_ml:.0f} ml; "
        f"mask {result.lesion_ml:.0f} ml, Dice {dice(label, mask):.2f}, "
        f"FPV {false_positive_ml(label, mask, voxel_ml=voxel_ml):.1f} ml, "
        f"FNV {false_negative_ml(label, mask, voxel_ml=voxel_ml):.1f} ml"
    )


def write_picture(pet: Volume, label: Volume, mask: Volume, path: Path) -> None:
    """Write the coronal projection alone, then both projections with the outlines of label and mask."""
    views: list[tuple[Plane, bool, str]] = [
        ("coronal", False, "synthetic PET"),
        ("coronal", True, "label (blue) and mask (red)"),
        ("sagittal", True, "the same, sagittal"),
    ]
    projections = [mip(pet, plane=plane) for plane, *_ in views]
    spans_mm = [body_span_mm(projection) for projection in projections]
    widths, (height, *_) = zip(*((x1 - x0, y1 - y0) for (x0, x1), (y0, y1) in spans_mm), strict=True)
    size = (sum(widths) * PIXELS_PER_MM / DPI, (height * PIXELS_PER_MM + TITLE_PIXELS) / DPI)
    figure, panels = new_figure(1, len(views), size_inches=size, width_ratios=widths)
    for axes, (plane, outlined, title), projection, (x_mm, y_mm) in zip(
        panels, views, projections, spans_mm, strict=True
    ):
        masks = [
            (mip(volume, plane=plane).pixels, colour) for volume, colour in ((label, LABEL_COLOUR), (mask, MASK_COLOUR))
        ]
        plot_mip(axes, projection, outlines=masks if outlined else [], linewidth=1.0)
        axes.set(xlim=x_mm, ylim=y_mm)
        axes.set_title(title, fontsize=7)
    save_figure(figure, path, dpi=DPI)


def body_span_mm(projection: Mip) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the extent of the body in a projection, (from, to) along x and along y."""
    spans = []
    for axis, pixel_mm, size in zip((0, 1), projection.pixel_mm[::-1], projection.pixels.shape[::-1], strict=True):
        bright = np.flatnonzero(projection.pixels.max(axis=axis) > AIR_SUV)
        first, last = bright[0] * pixel_mm - MARGIN_MM, (bright[-1] + 1) * pixel_mm + MARGIN_MM
        spans.append((max(first, 0.0), min(last, size * pixel_mm)))
    (left, right), (low, high) = spans
    return (left, right), (low + LOWEST_PART * (high - low), high)


if __name__ == "__main__":
    sys.exit(main())
