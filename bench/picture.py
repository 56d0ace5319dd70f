"""The picture in the README: ``python -m bench.picture --output docs/segmentation.png``.

Segments a phantom with the weights in the box and plots two projections with the outlines of label and mask.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from swfastedit_core import load_networks, segment
from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.metrics import dice
from swfastedit_core.phantom import field_of_view, make_phantom
from swfastedit_core.report.figure import new_figure, save_figure
from swfastedit_core.report.projection import LABEL_COLOUR, MASK_COLOUR, Mip, mip, plot_mip
from swfastedit_core.system.command import Parser, path_argument, require_writable, run_command, say
from swfastedit_core.volume import Volume

SPACING_MM = (3.0, 3.0, 3.0)
WIDTH_INCHES, DPI = 8.0, 150
BODY_SUV = 0.1  # what is fainter is air


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = Parser(prog="python -m bench.picture", description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, default=SEED, help="of the phantom, 0 or more (default: %(default)s)")
    add("--weights", type=path_argument, default=Path("weights"), help="default: %(default)s/")
    add("--output", type=path_argument, required=True, metavar="PNG", help="file for the picture")
    return run_command(lambda _: _run(parser.parse_args(arguments)))
