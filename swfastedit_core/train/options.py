"""The command line of training and the settings that it gives."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import chain

from swfastedit_core.errors import UserError
from swfastedit_core.system.command import Parser, path_argument
from swfastedit_core.train.arguments import add_settings, settings_of
from swfastedit_core.train.crops.augment import AugmentSettings
from swfastedit_core.train.crops.click_settings import ClickSettings
from swfastedit_core.train.crops.crops import CropSettings
from swfastedit_core.train.crops.transplant import TransplantSettings
from swfastedit_core.train.data.settings import DataSettings
from swfastedit_core.train.options_file import read_options_file
from swfastedit_core.train.run.compatibility import (
    donor_data_sets,
    require_channels_in_use,
    require_compatible,
    require_distinct,
)
from swfastedit_core.train.run.execution import MachineSettings, Schedule
from swfastedit_core.train.run.network_settings import NetworkSettings, Terms
from swfastedit_core.train.run.settings import LearningSettings, RunSettings
from swfastedit_core.train.setting import Option, options_of

PROGRAM = "python -m swfastedit_core.train"
EXCLUSIVE = (("--steps", "--epochs"), ("--suv-range", "--percentiles"))  # one of each pair
SURVEYED = ("specs", "lesion_labels", "skip_bad", "pet_channel", "ct_channel", "patient", "geometry")
GROUPS: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("data", (DataSettings,)),
    ("network", (NetworkSettings,)),
    ("crops and augmentation", (CropSettings, AugmentSettings, TransplantSettings)),
    ("clicks", (ClickSettings,)),
    ("learning", (LearningSettings,)),
    ("validation and records", (Schedule,)),
    ("machine", (MachineSettings,)),
    ("terms of the weights", (Terms,)),
)
OF_ANY_DATA = ("--data", "--fold")  # options of a file that other data may have, too


def parse(arguments: list[str], *, say: Callable[[str], None] | None = None) -> argparse.Namespace:
    """Read a command line; its options replace those of its ``--options`` file.

    If the file names data and the command line names other data, the options that describe the data of the file are not
    used: how its cases are read and sampled, and the terms of the weights that are trained with it.

    Parameters
    ----------
    arguments
        The command line behind the program's name.
    say
        Takes a line about options of the file that are not used; None drops it.

    Raises
    ------
    UserError
        If the command line or the file is wrong.
    """
    parser = _training_parser()
    file_parser = Parser(prog=PROGRAM, add_help=False)
    file_parser.add_argument("--options", type=path_argument)
    file_parser.add_argument("--data", nargs="*")
    asked = file_parser.parse_known_args(arguments)[0]
    merged = list(arguments)
    if asked.options is not None:
        options = read_options_file(asked.options, parser)
        unused = _unused_options(options, _flags(arguments), data=asked.data)
        if unused and say is not None:
            say(
                f"notice: --data is not that of {asked.options}; not used of this file: {', '.join(unused)}; give on "
                "the command line what holds for your data, too"
            )
        merged = [*chain(*options.values()), *arguments]
    for one, other in EXCLUSIVE:
        if {one, other} <= _flags(merged):
            raise UserError(f"{one} and {other} exclude each other; give one of them")
    return parser.parse_args(merged)


def _unused_options(options: dict[str, list[str]], given: set[str], *, data: list[str] | None) -> list[str]:
    """Remove the options of a file that the command line excludes; return those that other data make useless.

    Parameters
    ----------
    options
        From `read_options_file`; changed.
    given
        Flags of the command line.
    data
        Data sets of the command line; None if it names none.
    """
    for one, other in EXCLUSIVE:
        for flag, excluded in ((one, other), (other, one)):
            if flag in given:
                options.pop(excluded, None)
    if data is None or options.get("--data", ["--data", *data]) == ["--data", *data]:
        return []
    of_the_data = {option.flag for kind in (DataSettings, Terms) for _, option in options_of(kind)}
    unused = [flag for flag in options if flag in of_the_data and flag not in OF_ANY_DATA]
    for flag in unused:
        del options[flag]
    return [flag for flag in unused if not {flag, flag.replace("--", "--no-", 1)} & given]


def run_settings_of(options: argparse.Namespace, schedule: Schedule) -> RunSettings:
    """Return all settings that change the resulting weights.

    Raises
    ------
    UserError
        If a value is not allowed, or two options do not fit each other.
    """
    if options.split is not None and not options.split.is_file():
        raise UserError(f"--split {options.split}: no such file")
    data = data_settings_of(options)
    clicks = settings_of(ClickSettings, options)
    settings = RunSettings(
        settings_of(NetworkSettings, options).config(settings_of(Terms, options), clicks.click_encoding()),
        data,
        settings_of(CropSettings, options),
        settings_of(AugmentSettings, options),
        settings_of(TransplantSettings, options),
        settings_of(LearningSettings, options),
        clicks,
    )
    require_compatible(settings, schedule)
    return settings


def data_settings_of(options: argparse.Namespace) -> DataSettings:
    """Return the data sets and their split into training and validation.

    Raises
    ------
    UserError
        If a data set is named twice, donor data is not one of the data sets, a fold is not K/N, or a number of a
        channel has no effect.
    """
    specs = tuple(options.data)
    require_distinct(specs)
    data = settings_of(
        DataSettings,
        options,
        donor_data=donor_data_sets(specs, tuple(getattr(options, "donor_data", ()))),
        seed=getattr(options, "seed", 0),
    )
    require_channels_in_use(data)
    return data


def described_options() -> list[Option]:
    """Return the options that are stored with the weights. The terms are not among them: they have their own fields."""
    kinds = [kind for _, kinds in GROUPS for kind in kinds if kind is not Terms]
    return [option for kind in kinds for _, option in options_of(kind) if option.flag is not None]


def survey_parser() -> Parser:
    """Return the parser of the command ``survey``."""
    parser = Parser(prog=f"{PROGRAM} survey", description="Examine data sets as training does, without training.")
    add_settings(parser, DataSettings, only=SURVEYED)
    add_settings(parser, NetworkSettings, only=("channels", "spacing_mm"))
    add_settings(parser, MachineSettings, only=("preparers",))
    return parser


def _training_parser() -> Parser:
    parser = Parser(
        prog=PROGRAM,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"""Train a network. The defaults are the published recipe.

Other commands: {PROGRAM} survey …   examine data without training
                {PROGRAM} export …   export the weights of runs for process.py""",
        epilog="Several GPUs: torchrun --nproc-per-node N -m swfastedit_core.train … with the same options.",
    )
    add = parser.add_argument
    add("--output", type=path_argument, required=True, metavar="DIR", help="folder of the run")
    add(
        "--options",
        type=path_argument,
        metavar="FILE",
        help="TOML file of options; the command line replaces them; "
        "with other --data, what the file says about its data, licence, attribution and demonstration is not used",
    )
    add("--resume", action="store_true", help="resume the run in --output from its newest valid state")
    add(
        "--resume-or-start",
        action="store_true",
        help="resume the run in --output if it has a state, else start it: "
        "for job scripts that are submitted several times",
    )
    add("--store", type=path_argument, metavar="DIR", help="folder of the prepared cases; runs may share it "
        "(default: in --output)")  # fmt: skip
    for title, kinds in GROUPS:
        group = parser.add_argument_group(title)
        for kind in kinds:
            add_settings(group, kind)
    return parser


def _flags(arguments: list[str]) -> set[str]:
    """Return the names of the options among arguments."""
    return {argument.partition("=")[0] for argument in arguments}
