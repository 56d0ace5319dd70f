"""Train a network and write self-describing weights.

The cases are synthetic (--phantoms N) or a folder with imagesTr/ and labelsTr/ (--data DIR), or both. Started
again with the same --run, training goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from dataclasses import replace
from importlib.metadata import version

from swfastedit_core.checkpoint import CheckpointConfig, write_checkpoint
from swfastedit_core.command import Parser, path_argument, require_writable, run_command, say
from swfastedit_core.engine import resolve_device, resolve_precision
from swfastedit_core.errors import UserError
from swfastedit_core.model import ARCHITECTURES, NetworkConfig
from swfastedit_core.preprocess import PercentileIntensity, Preprocessing, RangeIntensity

RECIPE = Preprocessing()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return run_command(
        lambda _: _run(_parser().parse_args(arguments), sys.argv[1:] if arguments is None else arguments),
        when_stopped="; the same command goes on from the last saved state",
    )


def _parser() -> Parser:
    parser = Parser(
        prog="python -m swfastedit_core.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--run",
        type=path_argument,
        required=True,
        metavar="DIR",
        help="folder of this run: prepared cases, state, log",
    )
    add("--export", type=path_argument, required=True, metavar="FILE", help="weights to write, *.safetensors")
    add("--phantoms", type=int, default=0, metavar="N", help="synthetic cases to learn from")
    add("--data", type=path_argument, metavar="DIR", help="folder with imagesTr/ and labelsTr/")
    add("--validation", type=int, default=0, metavar="N", help="cases of each source kept for validation")
    add("--network", default="dynunet", choices=list(ARCHITECTURES), help="default: %(default)s")
    add("--filters", type=int, nargs="+", default=[], help="channels of each level (default: the network's)")
    add("--spacing", type=float, nargs=3, default=RECIPE.spacing_mm, metavar="MM", help="default: %(default)s")
    intensity = parser.add_mutually_exclusive_group()
    intensity.add_argument("--suv-range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="fixed scaling")
    intensity.add_argument(
        "--percentiles",
        type=float,
        nargs=2,
        default=(0.05, 99.95),
        metavar=("LOW", "HIGH"),
        help="of each image",
    )
    add("--patch", type=int, nargs=3, default=(128, 128, 128), metavar="VOXELS", help="crop and window")
    add("--steps", type=int, default=10_000, help="default: %(default)s")
    add("--batch", type=int, default=1, help="crops a step (default: %(default)s)")
    add("--learning-rate", type=float, default=2e-4, help="at the start (default: %(default)s)")
    add("--seed", type=int, default=0, help="of weights, crops and phantoms (default: %(default)s)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    add("--precision", default="auto", help="auto, float32, bfloat16 or float16 (default: %(default)s)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes that prepare cases")
    add("--validate-every", type=int, default=0, metavar="STEPS", help="default: at the end only")
    add("--half", action="store_true", help="store the weights as float16")
    add("--demonstration", action="store_true", help="mark the weights as a demonstration, not for patients")
    add("--licence", default="unknown", help="terms of the weights")
    add("--attribution", default="", help="whom to cite for the data behind them")
    return parser


def _run(options: argparse.Namespace, arguments: list[str]) -> None:
    from swfastedit_core.train.cases import folder_sources, phantom_sources, prepare_cases
    from swfastedit_core.train.loop import STATE, Cadence, Schedule, Trainer, train

    _checked(options)
    config, schedule = (
        _config(options),
        Schedule(options.steps, options.batch, tuple(options.patch), options.learning_rate, options.seed),
    )
    learn, held_out = [], []
    if options.phantoms:
        learn += phantom_sources(seed=options.seed, first=0, count=options.phantoms)
        held_out += phantom_sources(seed=options.seed, first=options.phantoms, count=options.validation)
    if options.data:
        found = folder_sources(options.data)
        if options.validation >= len(found):
            raise UserError(f"{options.data}: {len(found)} cases, --validation {options.validation} leaves none")
        learn += found[: len(found) - options.validation]
        held_out += found[len(found) - options.validation :]
    device = resolve_device(options.device)
    precision = resolve_precision(options.precision, device)
    names = [source.case for source in learn] + [f"held out: {source.case}" for source in held_out]
    trainer = Trainer(config, schedule, device=device, precision=precision, cases=names)
    options.run.mkdir(parents=True, exist_ok=True)
    if (options.run / STATE).exists():
        trainer.resume(options.run)
        say(f"resumed at step {trainer.step}")
    cases = []
    for case in prepare_cases(learn, options.run / "cases", config.preprocessing, workers=options.workers):
        cases.append(case)
        say(f"case {len(cases)} of {len(learn)}: {case.name}, lesion voxels {len(case.foreground)}")
    results = train(trainer, cases, held_out, options.run, cadence=Cadence(validate=options.validate_every), say=say)
    about = {
        "command": shlex.join(["python", "-m", "swfastedit_core.train", *arguments]),
        "seed": options.seed,
        "device": device.type,
        "precision": precision,
        "validation": results,
        "versions": {name: version(name) for name in ("torch", "monai", "numpy", "scipy")},
    }
    checkpoint = trainer.checkpoint(options.export)
    write_checkpoint(replace(checkpoint, config=replace(config, training=about)), options.export, half=options.half)
    say(f"{options.export}: {results or 'not validated'}")


def _config(options: argparse.Namespace) -> CheckpointConfig:
    intensity: PercentileIntensity | RangeIntensity
    intensity = RangeIntensity(*options.suv_range) if options.suv_range else PercentileIntensity(*options.percentiles)
    return CheckpointConfig(
        network=NetworkConfig(options.network, tuple(options.filters)),
        preprocessing=Preprocessing(tuple(options.spacing), intensity),
        window=tuple(options.patch),
        licence=options.licence,
        attribution=options.attribution,
        demonstration=options.demonstration,
    )


def _checked(options: argparse.Namespace) -> None:
    """Refuse what cannot work before anything is prepared."""
    if not options.phantoms and not options.data:
        raise UserError("nothing to learn from: give --phantoms N or --data DIR")
    for name, least in (
        ("phantoms", 0),
        ("validation", 0),
        ("steps", 1),
        ("batch", 1),
        ("seed", 0),
        ("workers", 1),
        ("validate_every", 0),
    ):
        if getattr(options, name) < least:
            raise UserError(f"--{name.replace('_', '-')} {getattr(options, name)}, expected {least} or more")
    if not 0 < options.learning_rate < 1:
        raise UserError(f"--learning-rate {options.learning_rate}, expected more than 0 and less than 1")
    if options.export.suffix != ".safetensors":
        raise UserError(f"--export {options.export}, expected a name that ends in .safetensors")
    require_writable(options.export)
    require_writable(options.run / "a file")


if __name__ == "__main__":
    sys.exit(main())
