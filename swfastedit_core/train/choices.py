"""What a command line chose, as the plain values of a run."""

from __future__ import annotations

import argparse
import re
import shlex
from dataclasses import replace
from typing import Any

from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.errors import UserError
from swfastedit_core.files.geometry import SPACING_MM
from swfastedit_core.intensity import PercentileIntensity, RangeIntensity
from swfastedit_core.model import NetworkConfig
from swfastedit_core.preprocess import Preprocessing
from swfastedit_core.system.processors import available_cpus
from swfastedit_core.train.crops.augment import AugmentSettings
from swfastedit_core.train.crops.crops import CropSettings
from swfastedit_core.train.crops.transplant import TransplantSettings
from swfastedit_core.train.data.sources import PHANTOM
from swfastedit_core.train.data.splits import parse_fold
from swfastedit_core.train.options import CHANNELS, PROGRAM
from swfastedit_core.train.run.settings import Cadence, DataSettings, Learning, Machine, Recipe


def recipe_of(options: argparse.Namespace) -> Recipe:
    """Put together what is learned.

    Raises
    ------
    UserError
        If a value is not what it should be.
    """
    _check(options)
    data = replace(
        data_of(options),
        shares=tuple(options.shares),
        fold=None if options.fold is None else parse_fold(options.fold),
        split_file=options.split,
        donors=_donors(options),
        seed=options.seed,
    )
    crops = CropSettings(
        size=tuple(options.crop),
        small_lesion_exponent=options.small_lesions,
        **_named(options, "positive", "in_patient", "jitter", "whole_view", "flip", "rotate"),
    )
    learning = Learning(
        squared=not options.plain_dice,
        window_overlap=options.train_in_windows,
        **_named(options, "epochs", "steps", "batch", "learning_rate", "seed", "clip", "ema", "deep_supervision"),
        start=options.start,
    )
    transplant = TransplantSettings(
        probability=options.transplant,
        most=options.most_transplants,
        margin_mm=options.margin,
        contrast_range=tuple(options.contrast),
        least_contrast=options.least_contrast,
        largest_ml=options.largest_donor,
    )
    augment = AugmentSettings(**_named(options, "blur", "noise", "scale", "misalign", "gamma"))
    return Recipe(_config(options), data, crops, augment, transplant, learning)


def data_of(options: argparse.Namespace) -> DataSettings:
    """Put together what `add_data` reads, as far as a survey needs it.

    Raises
    ------
    UserError
        If a data set is named twice.
    """
    doubled = next((spec for spec in options.data if options.data.count(spec) > 1), None)
    if doubled:
        raise UserError(f"--data names {doubled} twice; use --shares to take more crops of it")
    return DataSettings(
        specs=tuple(options.data),
        skip_bad=options.skip_bad,
        lesion_labels=tuple(options.lesion_labels),
    )


def machine_of(options: argparse.Namespace, *, precision: str, cuda: bool, ranks_here: int = 1) -> Machine:
    """Put together how the machine is used, by one of so many processes of the run on it."""
    loaders = options.loaders
    if loaders is None:
        loaders = min(8, max(1, (available_cpus() - 1) // ranks_here)) if cuda else 1
    return Machine(precision, options.compile, loaders, options.preparers)


def cadence_of(options: argparse.Namespace) -> Cadence:
    """Put together how often a run looks up."""
    return Cadence(
        log_steps=options.log_every,
        save_minutes=options.save_every,
        keep=options.keep,
        validate_steps=options.validate_every,
        validation_cases=options.validation_cases,
        validation_overlap=options.validation_overlap,
    )


def spacing_of(options: argparse.Namespace) -> tuple[float, float, float]:
    """Return the spacing of the network's voxels in mm.

    Raises
    ------
    UserError
        If a number of it is no spacing of voxels.
    """
    x, y, z = options.spacing
    low, high = SPACING_MM
    if not all(low <= mm <= high for mm in (x, y, z)):
        raise UserError(f"--spacing {x:g} {y:g} {z:g}, expected numbers from {low} to {high}")
    return x, y, z


def about_of(options: argparse.Namespace, arguments: list[str]) -> dict[str, Any]:
    """Say how the weights came to be: the command, and every option's value, without the folders of files."""
    left_out = {"run", "recipe", "resume", "store", "licence", "attribution", "demonstration"}
    chosen = {name: value for name, value in vars(options).items() if name not in left_out}
    files = {"data", "donors", "split", "start"}
    plain = {name: _without_folders(value) if name in files else value for name, value in chosen.items()}
    command = [*PROGRAM.split(), *map(_without_folders, arguments)]
    return {"command": shlex.join(command), "options": plain, "seed": options.seed}


def _config(options: argparse.Namespace) -> CheckpointConfig:
    intensity: PercentileIntensity | RangeIntensity
    intensity = RangeIntensity(*options.suv_range) if options.suv_range else PercentileIntensity(*options.percentiles)
    channels = CHANNELS[options.channels]
    return CheckpointConfig(
        network=NetworkConfig(options.network, tuple(options.filters), in_channels=channels.count),
        preprocessing=Preprocessing(spacing_of(options), intensity, tuple(options.ct_range)),
        window=tuple(options.window),
        channels=channels,
        licence=options.licence,
        attribution=options.attribution,
        demonstration=options.demonstration,
    )


def _donors(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the data sets that give lesions."""
    real = [spec for spec in options.data if not spec.startswith(f"{PHANTOM}:")]
    return tuple(real if options.donors is None else options.donors)


def _without_folders(value: Any) -> Any:
    """Leave out where files lie: it may name people or places, and weights travel further than data may."""
    if isinstance(value, list):
        return [_without_folders(one) for one in value]
    if value is None or re.fullmatch(r"(--fold=)?[0-9]+/[0-9]+", str(value)):
        return value
    return re.sub(r"[^:=]*/", ".../", str(value))


def _named(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Take the options that are called as the settings are."""
    return {name: getattr(options, name) for name in names}


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot work before anything is read."""
    least = {
        "epochs": 1, "steps": 1, "batch": 1, "seed": 0, "preparers": 1, "loaders": 0, "validate_every": 0,
        "validation_cases": 0, "log_every": 1, "save_every": 0, "keep": 1, "clip": 0,
    }  # fmt: skip
    for name, bound in least.items():
        value = getattr(options, name)
        if value is not None and not value >= bound:
            raise UserError(f"--{name.replace('_', '-')} {value}, expected {bound} or more")
    for name in ("ema", "validation_overlap", "train_in_windows"):
        value = getattr(options, name)
        if value is not None and not 0 <= value < 1:
            raise UserError(f"--{name.replace('_', '-')} {value}, expected 0 or more and less than 1")
    if not 0 < options.learning_rate < 1:
        raise UserError(f"--learning-rate {options.learning_rate}, expected more than 0 and less than 1")
    if options.split is not None and not options.split.is_file():
        raise UserError(f"--split {options.split}: no such file")
    if options.shares and (len(options.shares) != len(options.data) or not all(x > 0 for x in options.shares)):
        raise UserError(
            f"--shares {options.shares}, expected a number above 0 for each of the {len(options.data)} data sets"
        )
    unknown = [spec for spec in options.donors or [] if spec not in options.data]
    if unknown:
        raise UserError(f"--donors {unknown[0]} is none of --data")
    if options.deep_supervision and options.train_in_windows is not None:
        raise UserError("--deep-supervision and --train-in-windows cannot be combined: windows are put together "
                        "from the network's own output only")  # fmt: skip
    _check_idle(options)
    _check_crop(options)


def _check_idle(options: argparse.Namespace) -> None:
    """Refuse options that would do nothing."""
    if options.fold is None and options.split is None and (options.validate_every or options.validation_cases):
        raise UserError("--validate-every and --validation-cases need somebody held out: give --fold or --split")
    if options.misalign and not CHANNELS[options.channels].takes_ct:
        raise UserError("--misalign moves the CT against the PET and needs --channels pet,ct")
    if options.scale and not options.suv_range:
        raise UserError("--scale: percentiles scale along with the SUV, and undo it in use; it needs --suv-range")
    if options.transplant and not _donors(options):
        raise UserError("--transplant: phantoms give no lesions unless asked to; name data sets with --donors")


def _check_crop(options: argparse.Namespace) -> None:
    """Refuse crops that the network cannot take, unless they are cut into windows."""
    divisor = NetworkConfig(options.network, tuple(options.filters)).divisor_xyz
    if options.train_in_windows is not None:
        return
    cells = [side / step for side, step in zip(options.crop, divisor, strict=True)]
    if any(cell < 1 or cell != int(cell) for cell in cells) or max(cells) < 2:  # instance norm of one voxel
        raise UserError(
            f"--crop {options.crop}, expected multiples of {divisor} for '{options.network}', "
            "one of them twice that at least"
        )
