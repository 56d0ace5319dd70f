"""The command line of the report."""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from swfastedit_core.errors import DataWarning, UserError
from swfastedit_core.files.nifti_forms import FORMS
from swfastedit_core.report.files import PAGE, require_free
from swfastedit_core.report.page import niivue
from swfastedit_core.system.command import Parser, path_argument, say

if TYPE_CHECKING:
    from swfastedit_core.report.record import Report
    from swfastedit_core.volume import Volume

PROGRAM = "python -m swfastedit_core.report"
FETCH = "fetch-viewer"
DESCRIPTION = """Measure the lesions of a scan: lesions.csv, report.json, mip.png and report.html in a folder.

The mask may be of any origin. It lies on the PET's voxels; the order of its axes may differ. docs/report.md says what
each figure is. Research use only.
"""
UNKNOWN_METHOD = "not given (--method)"


def run(arguments: list[str]) -> None:
    """Run a command line.

    Raises
    ------
    UserError
        If an option is wrong, or a file cannot be read or written.
    """
    if arguments[:1] == [FETCH]:
        _fetch_viewer(arguments[1:])
        return
    options = _parser().parse_args(arguments)
    _check(options)
    with _data_warnings() as messages:
        pet, mask = _read(options)
        report = _write(options, pet, mask, messages)
    totals = report.totals
    say(f"{options.output / PAGE}: lesions: {totals.lesions}, MTV {totals.mtv_ml:.1f} ml, TLG {totals.tlg_g:.1f} g")


def _fetch_viewer(arguments: list[str]) -> None:
    description = f"Get the viewer of --viewer once: NiiVue {niivue.VERSION} (BSD-2-Clause, 2.3 MB), by npm."
    Parser(prog=f"{PROGRAM} {FETCH}", description=description).parse_args(arguments)
    say(f"{niivue.fetch()}: NiiVue {niivue.VERSION}")


def _parser() -> Parser:
    parser = Parser(prog=PROGRAM, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pet", type=path_argument, required=True, metavar="FILE", help="scan in SUV")
    parser.add_argument(
        "--mask", type=path_argument, required=True, metavar="FILE", help="mask or label of the lesions"
    )
    parser.add_argument("--output", type=path_argument, required=True, metavar="DIR", help="folder for the report")
    parser.add_argument(
        "--liver",
        type=_point,
        metavar="L,P,S",
        help="middle of the liver sphere of 3 cm, in mm of patient coordinates (x, y, z of DICOM); write "
        "--liver=-80,10,-400 (default: the program looks for the liver, which is a guess)",
    )
    parser.add_argument(
        "--suv-window",
        type=float,
        nargs=2,
        default=(0.0, 10.0),
        metavar=("LOW", "HIGH"),
        help="SUV shown white and black in the pictures (default: 0 10)",
    )
    parser.add_argument("--height-cm", type=float, metavar="CM", help="height of the patient, for SDmax")
    parser.add_argument("--weight-kg", type=float, metavar="KG", help="weight of the patient, for SDmax")
    parser.add_argument(
        "--method", default=UNKNOWN_METHOD, metavar="TEXT", help="how the mask was made, for the report"
    )
    parser.add_argument(
        "--lesion-labels",
        type=int,
        nargs="+",
        default=(),
        metavar="N",
        help="values of the mask that are lesion (default: all above 0)",
    )
    parser.add_argument(
        "--min-lesion-ml",
        type=float,
        default=0.0,
        metavar="ML",
        help="leave out connected components smaller than this (default: keep all)",
    )
    parser.add_argument(
        "--geometry",
        default="auto",
        choices=list(FORMS),
        help="coordinates of NIfTI files, PET and mask (default: %(default)s)",
    )
    parser.add_argument(
        "--viewer",
        action="store_true",
        help="add slices in three planes and a 3D view by NiiVue to report.html, which gets 3 to 12 MB larger; run "
        f"'{niivue.COMMAND}' once before",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that this program did not write")
    return parser


def _point(text: str) -> tuple[float, float, float]:
    try:
        left, back, up = (float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}', expected three numbers such as -80,10,-400") from error
    return left, back, up


def _check(options: argparse.Namespace) -> None:
    """Check the options before a file is read."""
    low, high = options.suv_window
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"--suv-window {low:g} {high:g}: expected two numbers, the lower one first")
    if (options.height_cm is None) != (options.weight_kg is None):
        raise UserError("--height-cm and --weight-kg belong together: both give the body surface area, for SDmax")
    if options.height_cm is not None and not (30 <= options.height_cm <= 260 and 1 <= options.weight_kg <= 500):
        raise UserError(
            f"--height-cm {options.height_cm:g} --weight-kg {options.weight_kg:g}: expected 30 to 260 cm, 1 to 500 kg"
        )
    if not 0 <= options.min_lesion_ml < math.inf:
        raise UserError(f"--min-lesion-ml {options.min_lesion_ml:g}: expected 0 or more")
    if options.viewer:
        niivue.read()
    require_free(options.output, overwrite=options.overwrite)


def _read(options: argparse.Namespace) -> tuple[Volume, Volume]:
    """Read the scan, and the mask on its grid."""
    from swfastedit_core.files.read import read_volume
    from swfastedit_core.labels.masks import align, read_label_file, select_lesions
    from swfastedit_core.volume import Volume

    pet = read_volume(options.pet, form=options.geometry)
    label, values = read_label_file(options.mask, form=options.geometry, what="mask")
    if missing := [value for value in options.lesion_labels if value not in values]:
        found = ", ".join(map(str, values)) or "only 0"
        raise UserError(f"{options.mask}: has no voxel of --lesion-labels {missing[0]}; its values: {found}")
    mask = Volume(select_lesions(label.array_zyx, options.lesion_labels), label.geometry)
    try:
        mask = align(mask, pet.geometry, options.mask, what="mask", of="PET")
    except UserError as error:
        raise UserError(
            f"{error}; resample the mask to the PET's voxels, or give the PET that it was made on"
        ) from error
    return pet, _without_small(mask, options.min_lesion_ml)


def _without_small(mask: Volume, min_lesion_ml: float) -> Volume:
    if min_lesion_ml <= 0:
        return mask
    import torch

    from swfastedit_core.components import remove_small_components
    from swfastedit_core.volume import Volume

    foreground = torch.from_numpy(mask.array_zyx != 0)
    kept = remove_small_components(foreground, min_voxels=min_lesion_ml / mask.geometry.voxel_ml)
    return Volume(kept.numpy().astype("uint8"), mask.geometry)


def _write(options: argparse.Namespace, pet: Volume, mask: Volume, messages: list[str]) -> Report:
    from swfastedit_core.report.compose import BodySize, Origin, make_report
    from swfastedit_core.report.write import write_report

    method = options.method
    if options.min_lesion_ml > 0:
        method += f"; components smaller than {options.min_lesion_ml:g} ml left out"
    origin = Origin(pet=options.pet, mask=options.mask, method=method, warnings=tuple(messages))
    body = None if options.height_cm is None else BodySize(options.height_cm, options.weight_kg)
    report, numbers_zyx = make_report(pet, mask.array_zyx, origin, liver_mm=options.liver, body=body)
    low, high = options.suv_window
    write_report(report, pet, numbers_zyx, options.output, suv_window=(low, high), viewer=options.viewer)
    return report


@contextmanager
def _data_warnings() -> Iterator[list[str]]:
    """Collect warnings about data, and print each at once."""
    messages: list[str] = []

    def show(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
        if not issubclass(category, DataWarning):
            show_others(message, category, *place, **more)  # type: ignore[arg-type]
        elif str(message) not in messages:
            messages.append(str(message))
            say(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        show_others, warnings.showwarning = warnings.showwarning, show
        yield messages
