"""Show and convert weights: ``python -m swfastedit_core.checkpoint show|convert``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from swfastedit_core.errors import UserError
from swfastedit_core.system.command import Parser, path_argument, run_command, say
from swfastedit_core.system.limits import LeastMemory
from swfastedit_core.system.supervisor import supervise

if TYPE_CHECKING:
    from swfastedit_core.checkpoint import Checkpoint

LEAST = LeastMemory(address_space=1_000_000_000, data=250_000_000)  # bytes for torch and small weights


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return run_command(lambda _: _run(_parser().parse_args(arguments)), least=LEAST)


def _parser() -> Parser:
    from swfastedit_core.checkpoint import ENDINGS

    parser = Parser(prog="python -m swfastedit_core.checkpoint", description="Show and convert weights.")
    commands = parser.add_subparsers(dest="command")
    show = commands.add_parser("show", help="print the description of a checkpoint as JSON")
    show.add_argument("file", type=path_argument, help=f"a file of weights: {ENDINGS}")
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
    convert.add_argument("--licence", help="licence of the weights")
    convert.add_argument("--attribution", help="citation for the weights and their training data")


def _run(options: argparse.Namespace) -> None:
    from swfastedit_core.checkpoint import read_checkpoint, write_checkpoint

    if options.command is None:
        raise UserError(
            "expected a command: show FILE prints what weights are, convert FILE NEW.safetensors writes them with a "
            "description; see python -m swfastedit_core.checkpoint --help"
        )
    if options.command == "show":
        say(describe(read_checkpoint(options.file)))
        return
    if options.target.exists() and not options.overwrite:
        raise UserError(f"{options.target}: the file exists; choose another name, or replace it with --overwrite")
    source = read_checkpoint(options.source, key=options.key)
    write_checkpoint(_redescribed(source, options), options.target, half=options.half)
    for notice in (*source.remarks, *_assumptions(source, options)):
        say(f"notice: {notice}")
    say(f"written to {options.target}")


def describe(checkpoint: Checkpoint) -> str:
    """Return the configuration, the number of parameters and the stored precision, as indented JSON.

    The history of training comes last: it is long.
    """
    from swfastedit_core.checkpoint.header import to_header

    tensors = checkpoint.tensors.values()
    about = {
        "file": str(checkpoint.path),
        "parameters": sum(tensor.numel() for tensor in tensors),
        "stored_as": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors}),
        "bytes": checkpoint.path.stat().st_size,
    }
    if checkpoint.notices:
        about["notices"] = checkpoint.notices
    config = json.loads(to_header(checkpoint.config))
    training = config.pop("training")
    return json.dumps({**about, **config, "training": training}, indent=2, ensure_ascii=False)


def _redescribed(checkpoint: Checkpoint, options: argparse.Namespace) -> Checkpoint:
    """Replace the parts of the description that the user gives."""
    from swfastedit_core.intensity import PercentileIntensity, RangeIntensity

    preprocessing = checkpoint.config.preprocessing
    if options.spacing:
        preprocessing = replace(preprocessing, spacing_mm=tuple(options.spacing))
    if options.suv_range:
        preprocessing = replace(preprocessing, intensity=RangeIntensity(*options.suv_range))
    if options.percentiles:
        preprocessing = replace(preprocessing, intensity=PercentileIntensity(*options.percentiles))
    given = {
        "window": options.window and tuple(options.window),
        "licence": options.licence,
        "attribution": options.attribution,
    }
    changes = {name: value for name, value in given.items() if value}
    return replace(checkpoint, config=replace(checkpoint.config, preprocessing=preprocessing, **changes))


def _assumptions(source: Checkpoint, options: argparse.Namespace) -> list[str]:
    """Say what neither the file nor the user describes."""
    from swfastedit_core.checkpoint.header import describe_input

    given = {"--spacing": options.spacing, "--window": options.window}
    given["--percentiles or --suv-range"] = options.percentiles or options.suv_range
    assumed = {option: text for option, text in describe_input(source.config).items() if not given[option]}
    if source.described or not assumed:
        return []
    return [f"assumed as in the recipe: {', '.join(assumed.values())}; if that is wrong, give {', '.join(assumed)}"]


if __name__ == "__main__":
    sys.exit(supervise(main))
