"""Train a network, survey data sets, export the weights of runs: ``python -m swfastedit_core.train``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from swfastedit_core.errors import UserError
from swfastedit_core.system.command import Parser, Stopped, path_argument, require_writable, run_command, say
from swfastedit_core.system.limits import LeastMemory
from swfastedit_core.system.supervisor import supervise

HOW_TO_RESUME = "the same command with --resume continues from the last saved state"
LEAST = LeastMemory(address_space=1_600_000_000, data=600_000_000)  # bytes for libraries and a small network
NOTHING_SAVED = "no state was saved yet"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    commands: dict[str, Callable[[list[str]], None]] = {"survey": _survey, "export": _export}
    command = commands.get(given[0]) if given else None
    if command is not None:
        return run_command(lambda _: command(given[1:]), least=LEAST)
    if given and not given[0].startswith("-"):
        return run_command(lambda _: _refuse_command(given[0], list(commands)))
    return run_command(lambda _: _train(given), least=LEAST)


def _refuse_command(name: str, commands: list[str]) -> None:
    raise UserError(
        f"unknown command '{name}', expected {' or '.join(commands)}, or the options of a training run; see --help"
    )


def _train(arguments: list[str]) -> None:
    from swfastedit_core.train.arguments import settings_of
    from swfastedit_core.train.options import PROGRAM, described_options, parse, run_settings_of
    from swfastedit_core.train.provenance import describe_command
    from swfastedit_core.train.run.execution import MachineSettings, Schedule

    options = parse(arguments, say=say if os.environ.get("RANK", "0") == "0" else _say_nothing)
    schedule, machine = settings_of(Schedule, options), settings_of(MachineSettings, options)
    settings = run_settings_of(options, schedule)
    require_writable(options.output / "a file")
    from swfastedit_core.engine import resolve_device
    from swfastedit_core.train.run.fabric import launch_fabric, training_precision
    from swfastedit_core.train.run.resume import require_state
    from swfastedit_core.train.run.run_lock import locked_run
    from swfastedit_core.train.run.training_loop import Run, train

    if options.resume:
        require_state(options.output)

    ranks, local_ranks = _ranks()
    if settings.learning.batch % ranks:
        raise UserError(f"--batch {settings.learning.batch}, expected a multiple of the {ranks} processes")
    device = resolve_device(machine.device)
    size = settings.crops.size if settings.learning.whole_crops else settings.config.window
    precision = training_precision(machine.precision, device, settings.config, size)
    fabric = launch_fabric(device, precision, local_ranks=local_ranks, nodes=ranks // local_ranks)
    run = Run(
        settings,
        folder=options.output,
        store=options.store or options.output / "store",
        machine=machine.resolve(precision=precision, cuda=device.type == "cuda", local_ranks=local_ranks),
        schedule=schedule,
        provenance={
            **describe_command(PROGRAM, options, arguments, described=described_options()),
            "device": device.type,
            "precision": precision,
            "processes": ranks,
        },
    )
    options.output.mkdir(parents=True, exist_ok=True)
    say_line = _say_above_the_bar if fabric.is_global_zero else _say_nothing
    with _noting_saved_states(options.output), locked_run(options.output, fabric, say=say_line):
        train(run, fabric, resume=options.resume or options.resume_or_start, say=say_line)


@contextmanager
def _noting_saved_states(folder: Path) -> Iterator[None]:
    """If a signal ends the run, note whether it can be resumed."""
    from swfastedit_core.checkpoint import STATES_OF_A_RUN
    from swfastedit_core.train.run.states import list_states

    try:
        yield
    except (KeyboardInterrupt, Stopped) as stopped:
        stopped.add_note(HOW_TO_RESUME if list_states(folder / STATES_OF_A_RUN) else NOTHING_SAVED)
        raise


def _ranks() -> tuple[int, int]:
    """Return how many processes torchrun started in all and on this machine; 1 and 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _say_above_the_bar(line: str) -> None:
    """Print a line above the progress bar."""
    from tqdm import tqdm

    with tqdm.external_write_mode():
        say(line)


def _say_nothing(_: str) -> None:
    """Drop the line: if there are several processes, only the first one prints."""


def _survey(arguments: list[str]) -> None:
    from swfastedit_core.train.arguments import settings_of
    from swfastedit_core.train.options import data_settings_of, survey_parser
    from swfastedit_core.train.run.execution import MachineSettings
    from swfastedit_core.train.run.network_settings import NetworkSettings
    from swfastedit_core.train.store.training_data import survey_data

    options = survey_parser().parse_args(arguments)
    network = settings_of(NetworkSettings, options)
    survey_data(
        data_settings_of(options),
        spacing_mm=network.spacing_mm,
        with_ct=network.takes_ct,
        workers=settings_of(MachineSettings, options).preparer_count(),
        say=say,
    )


def _export(arguments: list[str]) -> None:
    from swfastedit_core.train.options import PROGRAM

    parser = Parser(
        prog=f"{PROGRAM} export",
        description="Write the weights of runs into a folder, one file for each run. process.py takes several files as "
        "an ensemble.",
    )
    parser.add_argument("runs", type=path_argument, nargs="+", metavar="RUN", help="folder of a run")
    parser.add_argument("folder", type=path_argument, metavar="DIR", help="folder for the weights, such as weights/")
    parser.add_argument(
        "--which",
        default="best",
        choices=["best", "last"],
        help="best: weights of the validation with the highest mean Dice (interactive networks: mean of the "
        "mean Dices without and with clicks), or the last ones if there is none; last: weights of the last saved state "
        "(default: %(default)s)",
    )
    parser.add_argument("--half", action="store_true", help="store float16: half the size")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace any file of the same name; without it, only weights of a run are replaced",
    )
    options = parser.parse_args(arguments)
    from swfastedit_core.train.run.export import export_runs

    export_runs(
        options.runs,
        options.folder,
        which=options.which,
        half=options.half,
        overwrite=options.overwrite,
        say=say,
    )


if __name__ == "__main__":
    sys.exit(supervise(main, grace_seconds=None))  # after a signal it saves its state
