"""Train a network, look at data for it, make weights of runs: ``python -m swfastedit_core.train``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from swfastedit_core.errors import UserError
from swfastedit_core.system.command import Parser, path_argument, require_writable, run_command, say
from swfastedit_core.train.options import CHANNELS, PROGRAM, add_data, add_spacing

RESUME = "; the same command with --resume goes on from the last saved state"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    commands: dict[str, Callable[[list[str]], None]] = {"survey": _survey, "export": _export}
    command = commands.get(given[0]) if given else None
    if command is not None:
        return run_command(lambda _: command(given[1:]))
    if given and not given[0].startswith("-"):
        return run_command(lambda _: _unknown(given[0], list(commands)))
    return run_command(lambda _: _train(given), when_stopped=RESUME)


def _unknown(name: str, commands: list[str]) -> None:
    raise UserError(f"unknown command '{name}', expected {' or '.join(commands)}, or options to train with; see --help")


def _train(arguments: list[str]) -> None:
    from swfastedit_core.train.choices import about_of, cadence_of, machine_of, recipe_of
    from swfastedit_core.train.options import parse

    options = parse(arguments)
    recipe = recipe_of(options)
    require_writable(options.run / "a file")
    from swfastedit_core.engine import resolve_device
    from swfastedit_core.train.run.trainer import launch_fabric, training_precision
    from swfastedit_core.train.run.training_loop import Run, train

    ranks, here = _launched()
    if recipe.learning.batch % ranks:
        raise UserError(f"--batch {recipe.learning.batch}, expected a multiple of the {ranks} processes")
    device = resolve_device(options.device)
    size = recipe.crops.size if recipe.learning.window_overlap is None else recipe.config.window
    precision = training_precision(options.precision, device, recipe.config, size)
    fabric = launch_fabric(device, precision, ranks_here=here, nodes=ranks // here)
    run = Run(
        recipe,
        options.run,
        options.store or options.run / "store",
        machine_of(options, precision=precision, cuda=device.type == "cuda", ranks_here=here),
        cadence_of(options),
        {
            **about_of(options, arguments),
            "device": device.type,
            "precision": precision,
            "processes": ranks,
        },
    )
    options.run.mkdir(parents=True, exist_ok=True)
    train(run, fabric, resume=options.resume, say=_say_beside_the_bar if fabric.is_global_zero else _silent)


def _launched() -> tuple[int, int]:
    """Return how many processes torchrun started in all and on this machine; one where it did not."""
    return int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _say_beside_the_bar(line: str) -> None:
    from tqdm import tqdm

    with tqdm.external_write_mode():
        say(line)


def _silent(_: str) -> None:
    """Say nothing: of several processes the first one speaks."""


def _survey(arguments: list[str]) -> None:
    parser = Parser(prog=f"{PROGRAM} survey", description="Look at data sets as training would, without training.")
    add_data(parser)
    add_spacing(parser.add_argument)
    options = parser.parse_args(arguments)
    from swfastedit_core.train.choices import data_of, spacing_of
    from swfastedit_core.train.data.gather import examine

    with_ct = CHANNELS[options.channels].takes_ct
    examine(data_of(options), spacing_mm=spacing_of(options), with_ct=with_ct, workers=options.preparers, say=say)


def _export(arguments: list[str]) -> None:
    parser = Parser(
        prog=f"{PROGRAM} export",
        description="Write the weights of runs into a folder, one file a run; process.py takes several as an ensemble.",
    )
    parser.add_argument("runs", type=path_argument, nargs="+", metavar="RUN", help="folder of a run")
    parser.add_argument("folder", type=path_argument, metavar="DIR", help="where the weights go, such as weights/")
    parser.add_argument(
        "--which",
        default="best",
        choices=["best", "last"],
        help="best: of the validation with the highest mean Dice, last: as the run ended (default: %(default)s)",
    )
    parser.add_argument("--half", action="store_true", help="store float16: half the size")
    options = parser.parse_args(arguments)
    from swfastedit_core.train.run.export import export_runs

    export_runs(options.runs, options.folder, which=options.which, half=options.half, say=say)


if __name__ == "__main__":
    sys.exit(main())
