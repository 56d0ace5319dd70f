"""The command line of ``process.py``."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swfastedit_core.challenge.given import Once, read_image_options, read_words
from swfastedit_core.challenge.interface import DATA_CENTRIC, INPUT, OUTPUT, TASKS
from swfastedit_core.challenge.network_options import NetworkOptions, add_network_options, network_options_of
from swfastedit_core.challenge.port import HOST, OPTIONS, PORT
from swfastedit_core.system.command import Parser, path_argument

__all__ = ["OPTIONS", "Options", "parse"]

# Options of an image that do not count for scans that the command line names.
PLATFORM_ONLY = {"input", "output", "report", "api_method", "session_memory_mb", "data_centric"}
MASKS = Path("masks")  # of scans that are named, if --output is not
ABOUT = """Segment lesions in whole-body FDG-PET: the algorithm container's entry point, and a command for single scans.

With scans or folders of scans: writes the mask of each to --output, with the scan's name; below a named folder also
with the path in it. A folder means all .mha, .nii, .nii.gz and .nrrd files in it and below, except hidden files and
masks of this program. A scan that cannot be used is reported at the end, and the others are segmented.

Without scans: reads every .mha in /input/images/pet, writes masks to
/output/images/automated-petct-lesion-segmentation. A CT is read only if a network takes one: from /input/images/ct, or
the file that --ct names. The environment variable SWFASTEDIT_OPTIONS holds the default options of an image; options of
the command line override them. With scans, --input, --output, --report, --api-method, --session-memory-mb and
--data-centric in it are ignored.
"""


@dataclass(frozen=True, kw_only=True)
class Options(NetworkOptions):
    """The options of a command line; `process.py --help` explains them. `pets` is empty for the platform's folders."""

    input: Path
    pets: tuple[Path, ...]
    ct: Path | None
    clicks: tuple[Path, ...]
    output: Path
    report: Path | None
    task: str
    data_centric: bool | None
    api_method: str
    host: str
    port: int
    session_memory_mb: float
    overwrite: bool

    @property
    def interactive(self) -> bool:
        """Whether there may be clicks, so that a folder's interactive weights are used."""
        return bool(self.clicks) if self.pets else TASKS[self.task].clicks is not None


def parse(arguments: list[str], *, baked_in: str, program: str = "process.py") -> Options:
    """Read the command line.

    Parameters
    ----------
    arguments
        Words of the command line; its options override those of the image.
    baked_in
        Options of the image, as one line in shell syntax.
    program
        How the user calls the program, for the help.

    Raises
    ------
    UserError
        If an option is unknown, has a wrong value, or contradicts another. The message begins with
        ``SWFASTEDIT_OPTIONS`` if the option is one of the image.
    """
    parser = _parser(program)
    image, given = read_image_options(parser, baked_in), read_words(parser, arguments)
    pets = (*given.pop("pet", ()), *given.pop("scans", ()))
    if pets:
        _require_no_platform_option(given, parser)
        image = {name: value for name, value in image.items() if name not in PLATFORM_ONLY}
    else:
        _require_no_file_of_a_scan(given, parser)
    defaults = {**vars(parser.parse_intermixed_args([])), "output": MASKS if pets else OUTPUT}
    options = argparse.Namespace(**defaults | image | given)
    if "session_memory_mb" in given and options.api_method != "invoke":
        parser.error("--session-memory-mb belongs to --api-method invoke: exec segments once")
    return Options(
        input=options.input,
        pets=pets,
        ct=options.ct,
        clicks=tuple(options.clicks or ()),
        output=options.output,
        report=options.report,
        task=options.task,
        data_centric=None if options.data_centric is None else options.data_centric == "true",
        api_method=options.api_method,
        host=options.host,
        port=options.port,
        session_memory_mb=options.session_memory_mb,
        overwrite=options.overwrite,
        **network_options_of(options),
    )


def _require_no_platform_option(given: dict[str, Any], parser: Parser) -> None:
    if "input" in given:
        parser.error("--input names a folder of the platform, and scans are named, too; give one of them")
    if given.get("api_method") == "invoke" or "data_centric" in given:
        parser.error("--api-method invoke and --data-centric belong to the platform's folders, and scans are named")


def _require_no_file_of_a_scan(given: dict[str, Any], parser: Parser) -> None:
    if "ct" in given:
        parser.error("--ct names the CT of one scan, and no scan is named; with --input the CT lies in images/ct")
    if "clicks" in given:
        parser.error(
            "--clicks names the clicks on one scan, and no scan is named; with --input and --task autopet4 they lie in "
            f"{TASKS['autopet4'].clicks}"
        )


def _parser(program: str) -> Parser:
    parser = Parser(prog=program, description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "scans",
        type=path_argument,
        nargs="*",
        metavar="SCAN",
        help="scan in SUV (.mha, .nii, .nii.gz or .nrrd), or folder of scans; the mask gets the scan's name and format",
    )
    parser.add_argument(
        "--input",
        type=path_argument,
        default=INPUT,
        metavar="DIR",
        help="folder with images/pet/*.mha, and images/ct/*.mha for networks that take CT (default: %(default)s)",
    )
    parser.add_argument(
        "--pet", type=path_argument, nargs="+", action="extend", metavar="SCAN", help="the same as SCAN"
    )
    parser.add_argument(
        "--ct",
        type=path_argument,
        action=Once,
        metavar="FILE",
        help="CT of the scan in HU, on any grid in the same patient coordinates, for networks that take a CT",
    )
    parser.add_argument(
        "--clicks",
        type=path_argument,
        action="append",
        metavar="FILE",
        help="clicks on the scan, for networks that take clicks: JSON of the autoPET challenges or of 3D Slicer "
        "(.mrk.json); may be repeated, since Slicer writes a file for each list of points",
    )
    parser.add_argument(
        "--output",
        type=path_argument,
        metavar="DIR",
        help=f"folder for the masks (default: {MASKS} in the working directory; without scans {OUTPUT})",
    )
    parser.add_argument(
        "--report",
        type=path_argument,
        metavar="DIR",
        help="write a report of each scan, too: lesions.csv, report.json, mip.png and report.html in a folder with the "
        "scan's name (default: none); python -m swfastedit_core.report makes one of any PET and mask, with options",
    )
    parser.add_argument(
        "--task",
        default="autopet2",
        choices=list(TASKS),
        help="challenge whose folders are used: autopet2 for autoPET II and III, autopet4 for IV and V, with the "
        "clicks in lesion-clicks.json if a network takes clicks (default: %(default)s)",
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
        "--session-memory-mb",
        type=float,
        default=0.0,
        metavar="MB",
        help="memory for what invoke keeps of the last scans: a call on the same scan runs only the windows that its "
        "clicks change (default: 0, nothing is kept)",
    )
    parser.add_argument(
        "--weights",
        type=path_argument,
        action="append",
        metavar="PATH",
        help="checkpoint or folder of checkpoints; may be repeated, several are an ensemble "
        "(default: /opt/ml/model if anything is there, else weights/)",
    )
    add_network_options(parser)
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
