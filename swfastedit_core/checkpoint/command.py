"""Show and convert weights: ``python -m swfastedit_core.checkpoint show|convert``."""

from __future__ import annotations

import argparse
from dataclasses import replace

from swfastedit_core.checkpoint import ENDINGS, Checkpoint, read_checkpoint, write_checkpoint
from swfastedit_core.checkpoint.encodings import ENCODINGS, make_encoding, name_of_encoding
from swfastedit_core.checkpoint.header import CheckpointConfig, describe_input
from swfastedit_core.checkpoint.summary import describe, summarise
from swfastedit_core.click_encodings import ClickEncoding
from swfastedit_core.errors import UserError
from swfastedit_core.intensity import PercentileIntensity, RangeIntensity
from swfastedit_core.system.command import Parser, path_argument, say


def run(arguments: list[str]) -> None:
    """Run a command line.

    Raises
    ------
    UserError
        If an option is wrong, or a file cannot be read or written.
    """
    _run(_parser().parse_args(arguments))


def _parser() -> Parser:
    parser = Parser(prog="python -m swfastedit_core.checkpoint", description="Show and convert weights.")
    commands = parser.add_subparsers(dest="command")
    show = commands.add_parser(
        "show",
        help="print what a checkpoint is",
        description="Print a summary of a checkpoint, then its whole description as JSON.",
    )
    show.add_argument("file", type=path_argument, help=f"a file of weights: {ENDINGS}")
    show.add_argument("--json", action="store_true", help="print the JSON only")
    convert = commands.add_parser(
        "convert",
        help="write weights as a self-describing .safetensors file",
        description="Write weights as a self-describing .safetensors file. Options that are not given keep the "
        "description of the source; for a source without a description, they are the recipe's.",
    )
    convert.add_argument("source", type=path_argument, help="a file with a residual DynUNet of MONAI, or .safetensors")
    convert.add_argument("target", type=path_argument, help="a name that ends in .safetensors")
    convert.add_argument("--half", action="store_true", help="store float16: half the size")
    convert.add_argument("--overwrite", action="store_true", help="replace the target if it exists")
    convert.add_argument("--key", metavar="NAME", help="network to take, if the source holds several, such as ema")
    _add_description(convert)
    return parser


def _add_description(convert: argparse.ArgumentParser) -> None:
    """Add the options that describe weights."""
    xyz, limits = ("X", "Y", "Z"), ("LOW", "HIGH")
    convert.add_argument(
        "--spacing",
        type=float,
        nargs=3,
        metavar=xyz,
        help="voxel size in mm that the weights were trained with, right-left, front-back, up-down "
        "(recipe: 2.03642011 2.03642011 3)",
    )
    convert.add_argument(
        "--window", type=int, nargs=3, metavar=xyz, help="sides of a window in voxels (recipe: 128 128 128)"
    )
    intensity = convert.add_mutually_exclusive_group()
    intensity.add_argument(
        "--suv-range", type=float, nargs=2, metavar=limits, help="the weights were trained with this SUV range"
    )
    intensity.add_argument(
        "--percentiles",
        type=float,
        nargs=2,
        metavar=limits,
        help="the weights were trained with these percentiles of each image (recipe: 0.05 99.95)",
    )
    convert.add_argument(
        "--clicks",
        choices=ENCODINGS,
        help="how clicks were painted in training, for weights that take clicks (the authors': disc)",
    )
    convert.add_argument(
        "--click-size",
        type=float,
        metavar="VOXELS",
        help="sigma of disc (default 1) and gaussian (3), or radius of graded-ball (2), in voxels",
    )
    convert.add_argument("--licence", help="licence of the weights")
    convert.add_argument("--attribution", help="citation for the weights and their training data")


def _run(options: argparse.Namespace) -> None:
    if options.command is None:
        raise UserError(
            "expected a command: show FILE prints what weights are, convert FILE NEW.safetensors writes them with a "
            "description; see python -m swfastedit_core.checkpoint --help"
        )
    if options.command == "show":
        checkpoint = read_checkpoint(options.file)
        if not options.json:
            say(f"{summarise(checkpoint)}\n")
        say(describe(checkpoint))
        return
    if options.target.exists() and not options.overwrite:
        raise UserError(f"{options.target}: the file exists; choose another name, or replace it with --overwrite")
    source = read_checkpoint(options.source, key=options.key)
    write_checkpoint(_redescribed(source, options), options.target, half=options.half)
    for notice in (*source.remarks, *_assumptions(source, options)):
        say(f"notice: {notice}")
    say(f"written to {options.target}")


def _redescribed(checkpoint: Checkpoint, options: argparse.Namespace) -> Checkpoint:
    """Replace the parts of the description that the user gives."""
    preprocessing = checkpoint.config.preprocessing
    if options.spacing:
        preprocessing = replace(preprocessing, spacing_mm=tuple(options.spacing))
    if options.suv_range:
        preprocessing = replace(preprocessing, intensity=RangeIntensity(*options.suv_range))
    if options.percentiles:
        preprocessing = replace(preprocessing, intensity=PercentileIntensity(*options.percentiles))
    given = {
        "clicks": _encoding(checkpoint.config, options),
        "window": options.window and tuple(options.window),
        "licence": options.licence,
        "attribution": options.attribution,
    }
    changes = {name: value for name, value in given.items() if value}
    return replace(checkpoint, config=replace(checkpoint.config, preprocessing=preprocessing, **changes))


def _encoding(config: CheckpointConfig, options: argparse.Namespace) -> ClickEncoding | None:
    """Return the encoding of clicks that the user gives; a size alone changes that of the source. None: as it is."""
    if options.clicks is None and options.click_size is None:
        return None
    if config.clicks is None:
        option = "--click-size" if options.clicks is None else f"--clicks {options.clicks}"
        raise UserError(
            f"{option}: the weights have the channels {', '.join(config.channels.names)} and take no clicks"
        )
    return make_encoding(options.clicks or name_of_encoding(config.clicks), options.click_size)


def _assumptions(source: Checkpoint, options: argparse.Namespace) -> list[str]:
    """Say what neither the file nor the user describes."""
    given = {"--spacing": options.spacing, "--window": options.window, "--clicks": options.clicks or options.click_size}
    given["--percentiles or --suv-range"] = options.percentiles or options.suv_range
    assumed = {option: text for option, text in describe_input(source.config).items() if not given[option]}
    if source.described or not assumed:
        return []
    return [f"assumed as in the recipe: {', '.join(assumed.values())}; if that is wrong, give {', '.join(assumed)}"]
