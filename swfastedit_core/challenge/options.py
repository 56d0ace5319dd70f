"""The command line of ``process.py``."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from pathlib import Path

from swfastedit_core.challenge.case import CaseOptions
from swfastedit_core.challenge.interface import DATA_CENTRIC, INPUT, OUTPUT, TASKS
from swfastedit_core.challenge.port import HOST, OPTIONS, PORT
from swfastedit_core.system.command import Parser, path_argument

ABOUT = """Segment lesions in whole-body FDG-PET: the algorithm container's entry point, and a command for single files.

Without arguments: reads every .mha in /input/images/pet, writes masks to
/output/images/automated-petct-lesion-segmentation. A CT is read only if a network takes one: from /input/images/ct, or
the file that --ct names. The environment variable SWFASTEDIT_OPTIONS holds the default options of an image; options of
the command line override them. With --pet, --api-method and --data-centric in this variable are ignored.
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a command line; `process.py --help` explains them."""

    input: Path
    pet: Path | None
    ct: Path | None
    output: Path
    task: str
    data_centric: bool | None
    api_method: str
    host: str
    port: int
    weights: tuple[Path, ...]
    device: str
    engine: str
    precision: str
    window_batch: int | None
    case: CaseOptions
    overwrite: bool
    quiet: bool


def parse(arguments: list[str], *, baked_in: str) -> Options:
    """Read the command line.

    Parameters
    ----------
    arguments
        Options of the command line; they override those of the image.
    baked_in
        Options of the image, as one line in shell syntax.

    Raises
    ------
    UserError
        If an option is unknown, has a wrong value, or contradicts another.
    """
    parser = _parser()
    try:
        options = parser.parse_args([*shlex.split(baked_in), *arguments])
    except ValueError as error:
        parser.error(f"{OPTIONS}: {error}")
    if options.ct is not None and options.pet is None:
        parser.error("--ct names the CT of one scan: it needs --pet FILE; with --input the CT lies in images/ct")
    if options.pet is not None:
        _ignore_platform_options(options, parser.parse_args(arguments), parser)
    if not 0 < options.port < 2**16:
        parser.error(f"--port {options.port}, expected 1 to 65535")
    if options.window_batch is not None and options.window_batch < 1:
        parser.error(f"--window-batch {options.window_batch}, expected 1 or more")
    if not 0.0 <= options.overlap < 1.0:
        parser.error(f"--overlap {options.overlap}, expected 0 or more and less than 1")
    if not options.min_lesion_ml >= 0.0:
        parser.error(f"--min-lesion-ml {options.min_lesion_ml}, expected 0 or more")
    return Options(
        input=options.input,
        pet=options.pet,
        ct=options.ct,
        output=options.output or OUTPUT,
        task=options.task,
        data_centric=None if options.data_centric is None else options.data_centric == "true",
        api_method=options.api_method,
        host=options.host,
        port=options.port,
        weights=tuple(options.weights or ()),
        device=options.device,
        engine=options.engine,
        precision=options.precision,
        window_batch=options.window_batch,
        case=CaseOptions(
            geometry=options.geometry,
            full_grid=options.region == "full",
            overlap=options.overlap,
            majority=options.vote,
            min_lesion_ml=options.min_lesion_ml,
        ),
        overwrite=options.overwrite,
        quiet=options.quiet,
    )


class _Once(argparse.Action):
    """Stores a value, and refuses a second one: the first scan would be left out without a word."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Store the value."""
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string} is given twice, expected one scan a call; call the program for each scan")
        setattr(namespace, self.dest, values)


def _ignore_platform_options(options: argparse.Namespace, given: argparse.Namespace, parser: Parser) -> None:
    """Ignore the options that an image has for the platform's calls and folders: `--pet` names a single file."""
    if options.output is None:
        parser.error("--pet needs --output DIR")
    if given.input != INPUT:
        parser.error("--pet names one file and --input a folder; give one of them")
    if given.api_method == "invoke" or given.data_centric:
        parser.error("--pet takes one file, and --api-method invoke and --data-centric the platform's folders")
    options.api_method, options.data_centric = "exec", None


def _parser() -> Parser:
    parser = Parser(
        prog="process.py",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        stray="a scan is named with --pet FILE --output DIR",
    )
    parser.add_argument(
        "--input",
        type=path_argument,
        default=INPUT,
        metavar="DIR",
        help="folder with images/pet/*.mha, and images/ct/*.mha for networks that take CT (default: %(default)s)",
    )
    parser.add_argument(
        "--pet",
        type=path_argument,
        action=_Once,
        metavar="FILE",
        help="a single scan in SUV: .mha, .nii, .nii.gz or .nrrd; the mask gets its name and format",
    )
    parser.add_argument(
        "--ct",
        type=path_argument,
        action=_Once,
        metavar="FILE",
        help="CT of the scan in HU, on any grid in the same patient coordinates, for networks that take a CT",
    )
    parser.add_argument("--output", type=path_argument, metavar="DIR", help=f"folder for the masks (default: {OUTPUT})")
    parser.add_argument(
        "--task",
        default="autopet2",
        choices=list(TASKS),
        help="challenge whose folders are used: autopet2 for autoPET II and III, autopet4 for IV and V "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--data-centric",
        choices=["true", "false"],
        help=f"write this to {DATA_CENTRIC} below --output, as autoPET III asks for",
    )
    parser.add_argument(
        "--api-method",
        default="exec",
        choices=["exec", "invoke"],
        help="exec: segment, then exit; invoke: load the networks, then segment at every call over HTTP "
        "(default: %(default)s)",
    )
    parser.add_argument("--host", default=HOST, help="address of invoke; 0.0.0.0 is all (default: %(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="port of invoke (default: %(default)s, the platform's)")
    parser.add_argument(
        "--weights",
        type=path_argument,
        action="append",
        metavar="PATH",
        help="checkpoint or folder of checkpoints; may be repeated, several are an ensemble "
        "(default: /opt/ml/model if anything is there, else weights/)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument(
        "--engine",
        default="auto",
        choices=["auto", "openvino", "torch"],
        help="library that runs the network (default: openvino on CPUs, torch on CUDA)",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        choices=["auto", "float32", "bfloat16", "float16"],
        help="number format of the network (default: float16 on CUDA; on CPUs bfloat16 if they have "
        "instructions for it, else float32)",
    )
    parser.add_argument(
        "--region",
        default="body",
        choices=["body", "full"],
        help="body: windows over the patient; full: the recipe's grid over the whole volume (default: %(default)s). "
        "The masks differ, most with weights of a short training",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        default=CaseOptions.overlap,
        help="share of a window that neighbours have in common (default: %(default)s)",
    )
    parser.add_argument(
        "--window-batch",
        type=int,
        metavar="N",
        help="windows at a time; the program lowers it if memory runs out (default: the fastest number)",
    )
    parser.add_argument(
        "--vote",
        action="store_true",
        help="combine an ensemble by majority vote (default: by the mean of probabilities)",
    )
    parser.add_argument(
        "--min-lesion-ml",
        type=float,
        default=CaseOptions.min_lesion_ml,
        metavar="ML",
        help="clear connected components smaller than this (default: keep all)",
    )
    parser.add_argument(
        "--geometry",
        default="auto",
        choices=["auto", "qform", "sform"],
        help="coordinates of NIfTI files, PET and CT: auto takes the sform if there is one, and refuses a file whose "
        "qform contradicts it (default: %(default)s)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files that this program did not write (default: only its own masks)",
    )
    parser.add_argument("--quiet", action="store_true", help="print the final JSON only")
    return parser
