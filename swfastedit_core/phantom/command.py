"""Write phantoms as a data set: ``python -m swfastedit_core.phantom --cases 8 --seed 0 --output DIR``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from swfastedit_core.errors import UserError
from swfastedit_core.files.write import write_mask, write_volume
from swfastedit_core.phantom import Phantom, field_of_view, make_phantom
from swfastedit_core.phantom.lesions import MAX_LESIONS
from swfastedit_core.system.command import Parser, path_argument, require_writable, say
from swfastedit_core.volume import Volume

FOLDERS = ("imagesTr", "labelsTr")
STEPS_PER_SUV = 256
SEEDS_PER_SET = 100_000  # case i of seed s is the patient s * 100,000 + i


def run(arguments: list[str]) -> None:
    """Run a command line.

    Raises
    ------
    UserError
        If an option is wrong, or a file cannot be read or written.
    """
    _run(_parser().parse_args(arguments))


def _run(options: argparse.Namespace) -> None:
    _check(options)
    if options.picture is not None:
        from swfastedit_core.phantom.picture import write_picture  # imports PyTorch

        write_picture(list(_phantoms(options)), options.picture)
    if options.output is not None:
        _write(options)


def _parser() -> Parser:
    parser = Parser(prog="python -m swfastedit_core.phantom", description=__doc__)
    parser.add_argument("--cases", type=int, default=8, help="number of patients (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same files (default %(default)s)")
    parser.add_argument("--output", type=path_argument, help="folder for imagesTr/ and labelsTr/")
    parser.add_argument(
        "--spacing",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="voxel size in mm; default: that of a common scanner",
    )
    parser.add_argument("--lesions", type=int, help=f"lesions in each patient, 0 to {MAX_LESIONS}; default: sampled")
    parser.add_argument("--format", choices=("nii.gz", "mha"), default="nii.gz", help="file type (default %(default)s)")
    parser.add_argument("--picture", type=path_argument, metavar="PNG", help="plot projections of all patients")
    return parser


def _check(options: argparse.Namespace) -> None:
    """Check the options before any phantom is made."""
    if options.output is None and options.picture is None:
        raise UserError("nothing to write: give --output DIR, or --picture PNG, or both")
    if not 1 <= options.cases <= SEEDS_PER_SET:
        raise UserError(f"--cases {options.cases}: expected 1 to {SEEDS_PER_SET}")
    if options.seed < 0:
        raise UserError(f"--seed {options.seed}: expected 0 or more")
    if options.lesions is not None and not 0 <= options.lesions <= MAX_LESIONS:
        raise UserError(f"--lesions {options.lesions}: expected 0 to {MAX_LESIONS}")
    if options.spacing is not None and not all(0.5 <= step <= 20 for step in options.spacing):
        raise UserError(f"--spacing {' '.join(map(str, options.spacing))}: expected three numbers from 0.5 to 20 mm")
    if options.picture is not None:
        if options.picture.suffix != ".png":
            raise UserError(f"--picture {options.picture}: expected a name that ends in .png")
        require_writable(options.picture)
    for folder in [options.output / name for name in FOLDERS] if options.output is not None else []:
        require_writable(folder / "phantom")
        if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise UserError(f"{folder}: holds files already; give an empty folder or remove them")


def _phantoms(options: argparse.Namespace) -> Iterator[Phantom]:
    for case in range(options.cases):
        seed = options.seed * SEEDS_PER_SET + case
        geometry = field_of_view(seed, spacing_mm=None if options.spacing is None else tuple(options.spacing))
        yield make_phantom(seed, geometry=geometry, lesions=options.lesions)


def _write(options: argparse.Namespace) -> None:
    for case, phantom in enumerate(_phantoms(options)):
        name = f"phantom_{options.seed}_{case:04d}.{options.format}"
        write_mask(phantom.label, options.output / "labelsTr" / name)
        write_volume(_quantised(phantom.pet), options.output / "imagesTr" / name)
        label_ml = np.count_nonzero(phantom.label.array_zyx) * phantom.label.geometry.voxel_ml
        say(f"{name} lesions: {len(phantom.lesions)}, {label_ml:.1f} ml")


def _quantised(pet: Volume) -> Volume:
    """Round SUV to steps of 1/256, as integer storage does. This reduces the size of the files to a third."""
    return Volume(np.round(pet.array_zyx * STEPS_PER_SUV) / np.float32(STEPS_PER_SUV), pet.geometry)
