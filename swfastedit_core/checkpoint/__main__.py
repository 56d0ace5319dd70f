"""Show and convert weights: ``python -m swfastedit_core.checkpoint show|convert``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace

from swfastedit_core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from swfastedit_core.checkpoint.header import to_header
from swfastedit_core.intensity import PercentileIntensity, RangeIntensity
from swfastedit_core.system.command import Parser, path_argument, run_command, say


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return run_command(lambda _: _run(_parser().parse_args(arguments)))


def _parser() -> Parser:
    parser = Parser(prog="python -m swfastedit_core.checkpoint", description="Show and convert weights.")
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="print the description of a checkpoint as JSON")
    show.add_argument("file", type=path_argument, help=".safetensors or .pt file")
    convert = commands.add_parser("convert", help="write weights as a self-describing .safetensors file")
    convert.add_argument("source", type=path_argument, help="the authors' .pt file, or a .safetensors file")
    convert.add_argument("target", type=path_argument, help="a name that ends in .safetensors")
    convert.add_argument("--half", action="store_true", help="store float16: half the size")
    intensity = convert.add_mutually_exclusive_group()
    intensity.add_argument(
        "--suv-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="the weights were trained with this SUV range",
    )
    intensity.add_argument(
        "--percentiles",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="the weights were trained with these percentiles of each image (recipe: 0.05 99.95)",
    )
    convert.add_argument("--licence", help="licence of the weights")
    convert.add_argument("--attribution", help="citation for the weights and their training data")
    return parser


def _run(options: argparse.Namespace) -> None:
    if options.command == "convert":
        checkpoint = _redescribed(read_checkpoint(options.source), options)
        write_checkpoint(checkpoint, options.target, half=options.half)
    say(describe(read_checkpoint(options.file if options.command == "show" else options.target)))


def describe(checkpoint: Checkpoint) -> str:
    """Return the configuration, the number of parameters and the stored precision, as indented JSON."""
    tensors = checkpoint.tensors.values()
    about = {
        "file": str(checkpoint.path),
        "parameters": sum(tensor.numel() for tensor in tensors),
        "stored_as": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors}),
        "bytes": checkpoint.path.stat().st_size,
    }
    return json.dumps({**about, **json.loads(to_header(checkpoint.config))}, indent=2, ensure_ascii=False)


def _redescribed(checkpoint: Checkpoint, options: argparse.Namespace) -> Checkpoint:
    """Replace the parts of the description that the user gives."""
    config = checkpoint.config
    if options.suv_range:
        config = replace(
            config, preprocessing=replace(config.preprocessing, intensity=RangeIntensity(*options.suv_range))
        )
    if options.percentiles:
        config = replace(
            config,
            preprocessing=replace(config.preprocessing, intensity=PercentileIntensity(*options.percentiles)),
        )
    if options.licence:
        config = replace(config, licence=options.licence)
    if options.attribution:
        config = replace(config, attribution=options.attribution)
    return replace(checkpoint, config=config)


if __name__ == "__main__":
    sys.exit(main())
