"""The command line of a run, and recipe files that hold a part of it."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from swfastedit_core.checkpoint import Channels, CheckpointConfig
from swfastedit_core.errors import UserError
from swfastedit_core.model import ARCHITECTURES, NetworkConfig
from swfastedit_core.system.command import Parser, path_argument
from swfastedit_core.system.processors import available_cpus
from swfastedit_core.train.crops.crops import CropSettings
from swfastedit_core.train.data.layouts import LAYOUTS
from swfastedit_core.train.run.settings import DataSettings, RunSettings, Schedule

PROGRAM = "python -m swfastedit_core.train"
RIVALS = (("--steps", "--epochs"), ("--suv-range", "--percentiles"))  # of each pair one
CHANNELS = {",".join(channels.names): channels for channels in (Channels.PET, Channels.PET_CT)}
YES_OR_NO = argparse.BooleanOptionalAction
DEFAULT = RunSettings(CheckpointConfig(NetworkConfig()), DataSettings(()), CropSettings())


class Add(Protocol):
    """`argparse.ArgumentParser.add_argument`."""

    def __call__(self, *names: str, **how: Any) -> argparse.Action:
        """Add an option."""
        ...


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read a command line; options that a ``--recipe`` file gives come before its own, which therefore win.

    Raises
    ------
    UserError
        If either cannot be understood.
    """
    parser = _parser()
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--recipe", type=path_argument)
    file = first.parse_known_args(arguments)[0].recipe
    given = {argument.partition("=")[0] for argument in arguments}
    beaten = {rival for pair in RIVALS for option, rival in (pair, pair[::-1]) if option in given}
    merged = [*(read_recipe_file(file, parser, without=beaten) if file else []), *arguments]
    for one, other in RIVALS:
        if {one, other} <= {argument.partition("=")[0] for argument in merged}:
            raise UserError(f"{one} and {other} exclude each other; give one of them")
    return parser.parse_args(merged)


def read_recipe_file(path: Path, parser: argparse.ArgumentParser, *, without: Container[str] = ()) -> list[str]:
    """Turn a recipe file into command-line arguments.

    Parameters
    ----------
    path
        TOML. Each key is the name of an option: ``learning-rate = 1e-3``, ``data = ["phantom:400"]``,
        ``deep-supervision = true``. Tables are for the eye. Paths are taken from the working directory.
    parser
        Whose options it may hold.
    without
        Options that are passed over, such as ``--steps``.

    Raises
    ------
    UserError
        If it cannot be read, is no TOML, or names what is no option.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no recipe in TOML ({error})") from error
    known = {name for action in parser._actions for name in action.option_strings}
    arguments: list[str] = []
    for key, value in _flat(content):
        option = f"--{key}"
        if option not in known or option in ("--recipe", "--help"):
            raise UserError(f"{path}: '{key}' is no option of {PROGRAM}; see its --help")
        if option in without:
            continue
        if isinstance(value, bool):
            arguments.append(option if value else f"--no-{key}")
        else:
            arguments += [option, *map(str, value if isinstance(value, list) else [value])]
    return arguments


def _flat(content: Mapping[str, Any]) -> list[tuple[str, Any]]:
    pairs = []
    for key, value in content.items():
        pairs += _flat(value) if isinstance(value, dict) else [(key, value)]
    return pairs


def _parser() -> Parser:
    parser = Parser(
        prog=PROGRAM,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"""Train a network. The defaults are the published recipe.

Other commands: {PROGRAM} survey …   look at data without training
                {PROGRAM} export …   make weights for process.py of runs""",
        epilog="Several GPUs: torchrun --nproc-per-node N -m swfastedit_core.train … with the same options.",
    )
    add = parser.add_argument
    add("--output", dest="run", type=path_argument, required=True, metavar="DIR", help="folder of the run")
    add("--recipe", type=path_argument, metavar="FILE", help="TOML file with options; those given here win")
    add("--resume", action="store_true", help="go on from the latest good state in --output")
    add_data(parser)
    _add_split(parser.add_argument_group("who is held out").add_argument)
    _add_network(parser.add_argument_group("network").add_argument)
    _add_crops(parser.add_argument_group("crops, and what is done to them").add_argument)
    _add_learning(parser.add_argument_group("learning").add_argument)
    _add_cadence(parser.add_argument_group("validation and records").add_argument)
    _add_machine(parser.add_argument_group("machine").add_argument)
    _add_terms(parser.add_argument_group("what the weights say of themselves").add_argument)
    return parser


def _words(values: Iterable[object]) -> str:
    """Write values as they are given on a command line."""
    return " ".join(map(str, values))


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the options that name data."""
    add = parser.add_argument_group("data").add_argument
    add(
        "--data",
        nargs="+",
        required=True,
        metavar="SPEC",
        help=f"data sets, each LAYOUT:DIR with LAYOUT one of {', '.join(LAYOUTS)}, or phantom:N for N synthetic scans",
    )
    add("--channels", default="pet", choices=list(CHANNELS), metavar="CHANNELS", help="pet, or pet,ct in one word "
        "(default: %(default)s)")  # fmt: skip
    add("--lesion-labels", type=int, nargs="+", default=(), metavar="V", help="label values that are lesions "
        "(default: all above 0)")  # fmt: skip
    add(
        "--skip-bad",
        action=YES_OR_NO,
        default=False,
        help="leave out cases that cannot be used (default: refuse to begin)",
    )
    add("--preparers", type=int, default=available_cpus(), metavar="N", help="processes that look at and prepare "
        "cases (default: all cores, %(default)s)")  # fmt: skip


def _add_split(add: Add) -> None:
    add("--fold", metavar="K/N", help="hold out the patients of fold K (0 to N-1) of N")
    add("--split", type=path_argument, metavar="FILE", help="JSON file that says who is held out, instead of --fold; "
        "with nnU-Net's splits_final.json --fold chooses one of its folds")  # fmt: skip


def add_spacing(add: Add) -> None:
    """Add the option that says how large a network's voxels are."""
    add("--spacing", type=float, nargs=3, default=DEFAULT.config.preprocessing.spacing_mm, metavar="MM",
        help=f"of the network's voxels (default: {_words(DEFAULT.config.preprocessing.spacing_mm)})")  # fmt: skip


def _add_network(add: Add) -> None:
    config = DEFAULT.config
    add("--network", default=config.network.name, choices=list(ARCHITECTURES), help="default: %(default)s")
    add("--filters", type=int, nargs="+", default=(), metavar="N", help="channels of each level (default: its own)")
    add("--window", type=int, nargs=3, default=config.window, metavar="N", help="voxels of a window in use "
        f"(default: {_words(config.window)})")  # fmt: skip
    add_spacing(add)
    add("--suv-range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="map these SUV to 0 and 1 (default: "
        "percentiles)")  # fmt: skip
    add("--percentiles", type=float, nargs=2, default=(0.05, 99.95), metavar=("LOW", "HIGH"), help="of each image, "
        "mapped to 0 and 1 (default: 0.05 99.95)")  # fmt: skip
    add("--ct-range", type=float, nargs=2, default=config.preprocessing.ct_hu, metavar=("LOW", "HIGH"),
        help="HU mapped to 0 and 1, for --channels pet,ct "
        f"(default: {_words(config.preprocessing.ct_hu)})")  # fmt: skip


def _add_crops(add: Add) -> None:
    add("--shares", type=float, nargs="+", default=(), metavar="X", help="how often crops come from each of --data, "
        "relative to the others (default: every case once an epoch)")  # fmt: skip
    crops, augment, transplant = DEFAULT.crops, DEFAULT.augment, DEFAULT.transplant
    add("--crop", type=int, nargs=3, default=crops.size, metavar="N", help="voxels of a crop "
        f"(default: {_words(crops.size)})")  # fmt: skip
    add("--positive", type=float, default=crops.positive, metavar="P", help="share of crops around a lesion voxel "
        "(default: %(default)s)")  # fmt: skip
    add("--in-patient", type=float, default=crops.in_patient, metavar="P", help="of the others, the share around a "
        "voxel of the patient (default: %(default)s)")  # fmt: skip
    add("--whole-view", type=float, default=crops.whole_view, metavar="P", help="share of crops in the patient "
        "without a lesion (default: %(default)s)")  # fmt: skip
    add("--small-lesions", type=float, default=crops.small_lesion_exponent, metavar="X", help="0: lesions are "
        "chosen as often as they have voxels, 1: all as often (default: %(default)s)")  # fmt: skip
    add("--jitter", type=float, default=crops.jitter, metavar="X", help="how far a lesion may lie from a crop's "
        "middle, as share of its side, at most 0.5 (default: %(default)s)")  # fmt: skip
    add("--flip", type=float, default=crops.flip, metavar="P", help="probability, an axis (default: %(default)s)")
    add("--rotate", type=float, default=crops.rotate, metavar="P", help="probability of quarter turns (default: "
        "%(default)s)")  # fmt: skip
    for name, what in (
        ("blur", "a wider point spread"),
        ("noise", "more PET noise"),
        ("scale", "another SUV calibration"),
        ("gamma", "another contrast"),
        ("misalign", "a CT moved against the PET"),
    ):
        add(f"--{name}", type=float, default=getattr(augment, name), metavar="P", help=f"probability of {what} "
            "(default: %(default)s)")  # fmt: skip
    add("--transplant", type=float, default=transplant.probability, metavar="P", help="probability that lesions of "
        "other scans are pasted into a crop (default: %(default)s)")  # fmt: skip
    add("--most-transplants", type=int, default=transplant.most, metavar="N", help="lesions in a crop (default: "
        "%(default)s)")  # fmt: skip
    add("--contrast", type=float, nargs=2, default=transplant.contrast_range, metavar=("LOW", "HIGH"), help="factor "
        f"on a pasted lesion's contrast (default: {_words(transplant.contrast_range)})")  # fmt: skip
    add("--margin", type=float, default=transplant.margin_mm, metavar="MM", help="of a pasted lesion's surroundings "
        "(default: %(default)s)")  # fmt: skip
    add("--least-contrast", type=float, default=transplant.least_contrast, metavar="X", help="pass over donors whose "
        "mean SUV is below this many times their background (default: %(default)s)")  # fmt: skip
    add("--largest-donor", type=float, default=transplant.largest_ml, metavar="ML", help="pass over larger ones "
        "(default: none)")  # fmt: skip
    add("--donors", nargs="+", metavar="SPEC", help="which of --data give lesions (default: all but phantoms)")


def _add_learning(add: Add) -> None:
    learning = DEFAULT.learning
    add(
        "--epochs", type=int, default=learning.epochs, help="of as many crops as there are cases (default: %(default)s)"
    )
    add("--steps", type=int, help="optimiser steps, instead of --epochs")
    add("--batch", type=int, default=learning.batch, help="crops a step, over all processes (default: %(default)s)")
    add("--learning-rate", type=float, default=learning.learning_rate, metavar="X", help="at the start (default: "
        "%(default)s)")  # fmt: skip
    add("--start-from", dest="start", type=path_argument, metavar="WEIGHTS", help="fine-tune these, of the "
        "same network, channels, voxels and intensities (default: random weights)")  # fmt: skip
    add("--seed", type=int, default=learning.seed, help="of weights, crops and phantoms (default: %(default)s)")
    add("--plain-dice", action=YES_OR_NO, default=False, help="probabilities in the Dice loss are not squared: the "
        "paper's form (default: the code's, squared)")  # fmt: skip
    add("--train-in-windows", type=float, metavar="OVERLAP", help="cut crops into windows that have this share in "
        "common, as in use; the recipe: 0.25 (default: the network gets whole crops)")  # fmt: skip
    add("--clip", type=float, default=learning.clip, metavar="NORM", help="of gradients (default: none)")
    add("--ema", type=float, default=learning.ema, metavar="DECAY", help="average the weights over steps (default: no)")
    add("--deep-supervision", action=YES_OR_NO, default=False, help="let coarser levels of the decoder learn, too")


def _add_cadence(add: Add) -> None:
    cadence = Schedule()
    add("--validate-every", type=int, default=cadence.validate_steps, metavar="STEPS", help="default: at the end only")
    add("--validation-cases", type=int, default=cadence.validation_cases, metavar="N", help="at most (default: all)")
    add("--validation-overlap", type=float, default=cadence.validation_overlap, metavar="X", help="of windows "
        "(default: %(default)s)")  # fmt: skip
    add("--log-every", type=int, default=cadence.log_steps, metavar="STEPS", help="default: %(default)s")
    add("--save-every", type=float, default=cadence.save_minutes, metavar="MINUTES", help="default: %(default)s")
    add("--keep", type=int, default=cadence.keep, metavar="N", help="states that are kept (default: %(default)s)")


def _add_machine(add: Add) -> None:
    add("--store", type=path_argument, metavar="DIR", help="prepared cases; runs may share it (default: in --output)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    add("--precision", default="auto", help="auto, float32, bfloat16 or float16 (default: %(default)s)")
    add("--loaders", type=int, default=None, metavar="N", help="processes that make crops; 0: none of their own "
        "(default: 1 on a CPU, up to 8 for each GPU as far as there are cores)")  # fmt: skip
    add("--compile", action=YES_OR_NO, default=False, help="let torch compile the network: slow to start, faster steps")


def _add_terms(add: Add) -> None:
    add("--licence", default="unknown", help="terms of the weights")
    add("--attribution", default="", help="whom to cite for the data behind them")
    add(
        "--demonstration", action=YES_OR_NO, default=False, help="mark the weights as a demonstration, not for patients"
    )
