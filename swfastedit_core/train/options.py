"""The command line of training and the settings that it gives."""

from __future__ import annotations

import argparse

from swfastedit_core.errors import UserError
from swfastedit_core.system.command import Parser, path_argument
from swfastedit_core.train.arguments import add_settings, settings_of
from swfastedit_core.train.crops.augment import AugmentSettings
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
    ("learning", (LearningSettings,)),
    ("validation and records", (Schedule,)),
    ("machine", (MachineSettings,)),
    ("terms of the weights", (Terms,)),
)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read a command line; its options replace those of its ``--options`` file.

    Raises
    ------
    UserError
        If the command line or the file is wrong.
    """
    parser = _training_parser()
    file_parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    file_parser.add_argument("--options", type=path_argument)
    file = file_parser.parse_known_args(arguments)[0].options
    given = _flags(arguments)
    replaced = {other for pair in EXCLUSIVE for flag, other in (pair, pair[::-1]) if flag in given}
    merged = [*(read_options_file(file, parser, without=replaced) if file else []), *arguments]
    for one, other in EXCLUSIVE:
        if {one, other} <= _flags(merged):
            raise UserError(f"{one} and {other} exclude each other; give one of them")
    return parser.parse_args(merged)


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
    settings = RunSettings(
        settings_of(NetworkSettings, options).config(settings_of(Terms, options)),
        data,
        settings_of(CropSettings, options),
        settings_of(AugmentSettings, options),
        settings_of(TransplantSettings, options),
        settings_of(LearningSettings, options),
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
    add("--options", type=path_argument, metavar="FILE", help="TOML file of options; the command line replaces them")
    add("--resume", action="store_true", help="resume the run in --output from its newest valid state")
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
