"""Options made of settings, settings made of options, and option files."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import pytest
from places import ROOT

from swfastedit_core import UserError
from swfastedit_core.checkpoint import Channels, CheckpointConfig
from swfastedit_core.click_encodings import DiscEncoding
from swfastedit_core.intensity import RangeIntensity
from swfastedit_core.model import NetworkConfig
from swfastedit_core.preprocess import Preprocessing
from swfastedit_core.system.command import Parser
from swfastedit_core.train.arguments import add_settings, settings_of
from swfastedit_core.train.crops.augment import AugmentSettings
from swfastedit_core.train.crops.click_settings import ClickSettings
from swfastedit_core.train.crops.crops import CropSettings
from swfastedit_core.train.crops.transplant import TransplantSettings
from swfastedit_core.train.data.settings import DataSettings
from swfastedit_core.train.options import GROUPS, described_options, parse, run_settings_of
from swfastedit_core.train.provenance import describe_command
from swfastedit_core.train.run.execution import MachineSettings, Schedule
from swfastedit_core.train.run.network_settings import Terms
from swfastedit_core.train.run.settings import LearningSettings, RunSettings
from swfastedit_core.train.setting import Option, options_of, required_setting, setting

LEAST = ["--output", "run", "--data", "phantom:1"]


@dataclass(frozen=True)
class Example:
    names: tuple[str, ...] = required_setting("--names", "names", metavar="NAME")
    sides: tuple[int, int, int] = setting((1, 2, 3), "--sides", "sides", metavar="N")
    limits: tuple[float, float] | None = setting(None, "--limits", "limits", metavar=("LOW", "HIGH"))
    file: Path | None = setting(None, "--some-file", "a file", default_text="none")
    switch: bool = setting(False, "--switch", "a switch")
    fold: tuple[int, int] | None = setting(
        None, "--fold", "a fold", parse=lambda text: tuple(int(number) for number in text.split("/"))
    )
    hidden: float = setting(0.5)
    form: Literal["auto", "qform"] = setting("auto", "--form", "a form")


def read(*arguments: str) -> Example:
    parser = Parser(prog="example")
    add_settings(parser, Example)
    return settings_of(Example, parser.parse_args(["--names", "a", *arguments]))


def test_options_have_the_types_and_defaults_of_the_fields():
    assert read() == Example(names=("a",))
    given = read(
        *("--names", "b", "c", "--sides", "4", "5", "6", "--limits", "0", "1.5"),
        *("--some-file", "x", "--switch", "--fold", "2/5", "--form", "qform"),
    )
    assert given == Example(("b", "c"), (4, 5, 6), (0.0, 1.5), Path("x"), switch=True, fold=(2, 5), form="qform")
    assert [type(side) for side in given.sides] == [int, int, int]
    assert read("--switch", "--no-switch") == read()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sides", "1", "2"), "--sides: expected 3 arguments"),
        (("--sides", "1", "2", "x"), "--sides: invalid int value: 'x'"),
        (("--some-file", ""), "--some-file: an empty name, expected a file or folder"),
        (("--form", "sform"), "--form: invalid choice: 'sform' (choose from 'auto', 'qform')"),
        (("--hidden", "1"), "unrecognized arguments: --hidden 1"),
    ],
)
def test_option_of_another_type_is_refused(arguments, message):
    with pytest.raises(UserError) as refusal:
        read(*arguments)
    assert message in str(refusal.value)


def test_help_shows_meaning_and_default():
    parser = Parser(prog="example")
    add_settings(parser, Example)
    lines = {line.split()[0]: " ".join(line.split()) for line in parser.format_help().splitlines() if "--" in line}
    assert lines["--sides"] == "--sides N N N sides (default: 1 2 3)"
    assert lines["--limits"] == "--limits LOW HIGH limits"
    assert "(default: none)" in parser.format_help()
    assert "hidden" not in parser.format_help()


def test_required_option_and_a_choice_of_fields():
    parser = Parser(prog="example")
    add_settings(parser, Example, only=("names", "switch"))
    with pytest.raises(UserError, match="required: --names"):
        parser.parse_args(["--switch"])
    options = parser.parse_args(["--names", "a", "--switch"])
    assert settings_of(Example, options, hidden=0.75) == Example(("a",), switch=True, hidden=0.75)


def test_command_line_without_options_gives_the_defaults_of_the_settings():
    options = parse(LEAST)
    assert run_settings_of(options, Schedule()) == RunSettings(
        CheckpointConfig(NetworkConfig()), DataSettings(("phantom:1",)), CropSettings()
    )
    assert settings_of(Schedule, options) == Schedule()
    assert settings_of(MachineSettings, options) == MachineSettings()


def test_every_flag_stands_once_and_says_what_it_does():
    options = [option for _, kinds in GROUPS for kind in kinds for _, option in options_of(kind) if option.flag]
    assert len(options) == len({option.flag for option in options}) == 82
    assert all(option.meaning for option in options)


def test_options_reach_the_settings():
    arguments = [
        *("--data", "images:a", "phantom:3", "--channels", "pet,ct", "--spacing", "4", "4", "4", "--seed", "7"),
        *("--suv-range", "0", "10", "--window", "32", "32", "32", "--crop", "64", "32", "32", "--fold", "1/5"),
        *("--contrast", "1", "1.5", "--misalign", "0.5", "--plain-dice", "--start-from", "weights", "--clip", "1"),
        *("--pet-channel", "1", "--ct-channel", "0", "--patient", "(P[0-9]+)_.*", "--geometry", "qform"),
        *("--optimizer", "novograd", "--schedule", "multistep", "--loss", "dice", "--exclude-background"),
        *("--limit", "3", "--whole-crops"),
    ]
    settings = run_settings_of(parse(["--output", "run", *arguments]), Schedule())
    channels = Channels.PET_CT
    preprocessing = Preprocessing((4.0, 4.0, 4.0), RangeIntensity(0.0, 10.0))
    assert settings == RunSettings(
        CheckpointConfig(NetworkConfig(in_channels=2), preprocessing, (32, 32, 32), channels),
        DataSettings(
            ("images:a", "phantom:3"),
            fold=(1, 5),
            donor_data=("images:a",),
            seed=7,
            pet_channel=1,
            ct_channel=0,
            patient="(P[0-9]+)_.*",
            geometry="qform",
            limit=3,
        ),
        CropSettings(size=(64, 32, 32)),
        AugmentSettings(misalign=0.5),
        TransplantSettings(contrast_range=(1.0, 1.5)),
        LearningSettings(
            seed=7,
            plain_dice=True,
            initial_weights=Path("weights"),
            clip=1.0,
            optimizer="novograd",
            schedule="multistep",
            loss="dice",
            exclude_background=True,
            whole_crops=True,
        ),
    )


def test_every_field_of_run_settings_is_compared_when_a_run_is_resumed():
    settings = RunSettings(CheckpointConfig(NetworkConfig()), DataSettings(("phantom:1",)), CropSettings())
    parts = [
        *(settings.config, settings.data, settings.crops, settings.augment, settings.transplant, settings.learning),
        settings.clicks,
    ]
    names = settings.by_name()
    assert len(names) == sum(len(fields(part)) for part in parts)
    assert (names["--learning-rate"], names["--crop"], names["blur_mm"]) == ("0.0002", "(224, 224, 224)", "6.0")
    changed = replace(settings, learning=LearningSettings(ema=0.5)).by_name()
    assert {name for name in names if names[name] != changed[name]} == {"--ema"}
    changed = replace(settings, clicks=ClickSettings(interactive=True, rounds=10)).by_name()
    assert {name for name in names if names[name] != changed[name]} == {"--interactive", "--rounds"}


def test_options_of_clicks_reach_settings_and_header():
    arguments = [
        *("--interactive", "--rounds", "8", "--stop", "dice", "--dice-threshold", "0.2", "--click-draw", "distance"),
        *("--click-encoding", "disc", "--channels", "pet,ct"),
    ]
    settings = run_settings_of(parse([*LEAST, *arguments]), Schedule())
    assert settings.clicks == ClickSettings(
        interactive=True, rounds=8, stop="dice", dice_threshold=0.2, draw="distance", encoding="disc"
    )
    assert (settings.config.channels, settings.config.network.in_channels) == (Channels.PET_CT_CLICKS, 4)
    assert settings.config.clicks == DiscEncoding(1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--rounds 10", "--rounds has no effect without --interactive"),
        ("--click-encoding disc", "--click-encoding has no effect without --interactive"),
        ("--validation-clicks 5", "--validation-clicks has no effect without --interactive"),
        ("--interactive --validation-clicks 5", "--validation-clicks has no effect without held-out cases"),
        ("--interactive --stop dice", "--stop has no effect without --rounds"),
        ("--interactive --probability 0.9", "--probability has no effect without --rounds"),
        ("--interactive --click-draw distance --error-clicks 0", "--click-draw has no effect with --error-clicks 0"),
        ("--interactive --rounds 9 --max-clicks 5", "--max-clicks has no effect with --rounds"),
        ("--interactive --rounds 9 --without-clicks 0.3", "--without-clicks has no effect with --rounds"),
        ("--interactive --rounds 9 --error-clicks 0.3", "--error-clicks has no effect with --rounds"),
        ("--interactive --rounds 9 --probability 0.9", "--probability has no effect without --stop probability"),
        ("--interactive --rounds 9 --stop probability --dice-threshold 0.2", "no effect without --stop dice"),
        ("--interactive --rounds 9 --strategy non-corrective --click-draw distance", "always draws uniformly"),
        (
            "--interactive --rounds 9 --strategy patch-corrective --crop 128 128 128",
            "--strategy patch-corrective has no effect unless --crop is larger than its tiles of 128 voxels",
        ),
    ],
)
def test_setting_of_clicks_without_effect_is_refused(arguments, message):
    options = parse([*LEAST, *arguments.split()])
    with pytest.raises(UserError) as refusal:
        run_settings_of(options, settings_of(Schedule, options))
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    "arguments",
    [
        "--interactive --click-draw distance",
        "--interactive --rounds 9 --stop deepgrow --probability 0.9",
        "--interactive --rounds 9 --strategy deepgrow --probability 0.9",
        "--interactive --rounds 9 --strategy patch-corrective",
        "--interactive --rounds 9 --strategy non-corrective --stop dice --dice-threshold 0.5",
    ],
)
def test_settings_of_clicks_that_work_together_are_taken(arguments):
    assert run_settings_of(parse([*LEAST, *arguments.split()]), Schedule()).clicks.interactive


@pytest.mark.parametrize("name", ["demo", "demo-phantoms", "demo-tumours", "demo-interactive"])
def test_option_files_of_the_demonstration_are_read(name):
    options = parse(["--options", str(ROOT / "weights" / f"{name}.toml"), "--output", "run"])
    settings = run_settings_of(options, Schedule())
    assert settings.config.network.filters == (8, 16, 32, 64, 80, 80)
    assert settings.config.preprocessing == Preprocessing((4.0, 4.0, 4.0), RangeIntensity(0.0, 15.0))
    assert settings.config.demonstration
    assert settings.crops.small_lesion_preference == 0.6
    steps = {"demo": 5000, "demo-phantoms": 5000, "demo-tumours": 9500, "demo-interactive": 3000}
    assert settings.learning.steps == steps[name]
    assert (settings.learning.clip, settings.learning.ema, settings.learning.deep_supervision) == (1.0, 0.999, True)
    assert settings.learning.overlap_in_training is None
    assert settings.config.channels.takes_clicks == (name == "demo-interactive")


def test_file_gives_way_to_the_exclusive_option_of_the_command_line(tmp_path):
    file = tmp_path / "options.toml"
    file.write_text("steps = 3\npercentiles = [1, 99]\n")
    options = parse([*LEAST, "--options", str(file), "--epochs", "2", "--suv-range", "0", "5"])
    assert (options.steps, options.epochs, options.percentiles) == (None, 2, (0.05, 99.95))


@pytest.mark.parametrize(
    ("in_file", "given", "overlap"),
    [
        ("", [], 0.25),
        ("whole-crops = true", [], None),
        ("whole-crops = true", ["--train-in-windows", "0.5"], 0.5),
        ("whole-crops = true", ["--no-whole-crops"], 0.25),
        ("train-in-windows = 0.5", ["--whole-crops"], None),
    ],
)
def test_windows_and_whole_crops_replace_each_other(in_file, given, overlap, tmp_path):
    file = tmp_path / "options.toml"
    file.write_text(in_file)
    settings = run_settings_of(parse([*LEAST, "--options", str(file), *given]), Schedule())
    assert settings.learning.overlap_in_training == overlap


def test_other_data_get_no_licence_and_no_demonstration_mark_of_a_file(tmp_path):
    said = []
    demo = ROOT / "weights" / "demo.toml"
    options = parse(["--options", str(demo), "--output", "run", "--data", "images:mine"], say=said.append)
    config = run_settings_of(options, Schedule()).config
    assert (config.licence, config.attribution, config.demonstration) == ("unknown", "", False)
    assert config.window == (96, 96, 96)  # what is not about data is used
    assert said == [
        f"notice: --data is not that of {demo}; not used of this file: --shares, --demonstration, --licence, "
        "--attribution; give on the command line what holds for your data, too"
    ]
    said.clear()
    terms = ["--licence", "CC0", "--attribution", "me", "--demonstration", "--shares", "1"]
    options = parse(["--options", str(demo), "--output", "run", "--data=images:mine", *terms], say=said.append)
    config = run_settings_of(options, Schedule()).config
    assert (config.licence, config.attribution, config.demonstration) == ("CC0", "me", True)
    assert said == []


OF_DATA = """
shares = [1, 2]
split = "split.json"
skip-bad = true
lesion-labels = [2]
pet-channel = 1
ct-channel = 0
patient = "(.+)_ses-.*"
geometry = "qform"
donor-data = ["images:a"]
licence = "CC0"
attribution = "me"
demonstration = true
"""


@pytest.mark.parametrize(
    ("in_file", "given", "used"),
    [
        ('data = ["images:a", "images:b"]', [], True),
        ('data = ["images:a", "images:b"]', ["images:a", "images:b"], True),
        ("", ["images:c"], True),  # the file is not about certain data
        ('data = ["images:a", "images:b"]', ["images:b", "images:a"], False),  # the shares are in the other order
        ('data = ["images:a", "images:b"]', ["images:a"], False),
        ('data = "images:a"', ["images:b"], False),
    ],
)
def test_options_about_the_data_of_a_file_are_used_for_these_data_only(in_file, given, used, tmp_path):
    file = tmp_path / "options.toml"
    file.write_text(f'{in_file}\nfold = "1/5"\nlimit = 2\nclip = 1\n{OF_DATA}')
    options = vars(parse(["--output", "run", "--options", str(file), *(["--data", *given] if given else [])]))
    plain = vars(parse([*LEAST]))
    names = [line.partition(" ")[0].replace("-", "_") for line in OF_DATA.split("\n") if line]
    assert {name for name in names if options[name] != plain[name]} == (set(names) if used else set())
    assert (options["fold"], options["limit"], options["clip"]) == ("1/5", 2, 1.0)


def test_test_set_of_a_file_is_for_its_data_only(tmp_path):
    file = tmp_path / "options.toml"
    file.write_text('data = ["images:a"]\nvalidate-on = "imagesTs"\n')
    command = ["--output", "run", "--options", str(file)]
    assert parse(command).validate_on == "imagesTs"
    assert parse([*command, "--data", "images:b"]).validate_on is None
    assert parse([*command, "--fold", "0/5"]).validate_on is None  # the command line replaces what it excludes


def test_every_option_about_data_and_terms_is_in_the_test_above():
    flags = {option.flag for kind in (DataSettings, Terms) for _, option in options_of(kind)}
    flags -= {"--data", "--fold", "--limit", "--validate-on"}
    assert flags == {f"--{line.partition(' ')[0]}" for line in OF_DATA.split("\n") if line}


def test_provenance_holds_every_option_and_no_folder():
    arguments = [
        *LEAST,
        "--data",
        "images:/home/someone/data",
        "--fold",
        "0/5",
        "--start-from",
        "/home/x/w.safetensors",
    ]
    about = describe_command("python -m program", parse(arguments), arguments, described=described_options())
    assert about["command"].startswith(
        "python -m program --output run --data phantom:1 --data images:.../data --fold 0/5"
    )
    assert about["options"]["data"] == ["images:.../data"]
    assert about["options"]["start_from"] == ".../w.safetensors"
    assert about["options"]["fold"] == "0/5"
    assert about["options"]["learning_rate"] == 0.0002
    assert about["seed"] == 0
    assert {"output", "store", "licence", "options", "resume"}.isdisjoint(about["options"])
    assert len(about["options"]) == 82 - 3  # all flags but those of the terms


def test_settings_that_are_paths_or_data_sets_are_marked_as_naming_files():
    """Otherwise folders, which may name people, are stored with the weights."""
    settings = [each for _, kinds in GROUPS for kind in kinds for each in options_of(kind)]
    named = {option.flag for field, option in settings if "Path" in str(field.type) or option.metavar == "SPEC"}
    marked = {option.flag for _, option in settings if option.names_files}
    assert marked == named == {"--data", "--donor-data", "--split", "--start-from"}


def test_option_that_is_marked_is_stored_without_its_folders():
    options = parse([*LEAST, "--data", "images:/home/someone/data"])
    shown = describe_command("p", options, [], described=[Option("--data"), Option("--output")])
    hidden = describe_command("p", options, [], described=[Option("--data", names_files=True)])
    assert shown["options"]["data"] == ["images:/home/someone/data"]
    assert hidden["options"]["data"] == ["images:.../data"]
