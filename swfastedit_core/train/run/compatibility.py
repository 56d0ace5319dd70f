"""Checks of settings against each other: combinations that are not allowed, and settings without effect."""

from __future__ import annotations

from swfastedit_core.errors import UserError
from swfastedit_core.intensity import PercentileIntensity
from swfastedit_core.train.data.layouts import CHANNELS_LAYOUT
from swfastedit_core.train.data.settings import DataSettings
from swfastedit_core.train.data.sources import PHANTOM
from swfastedit_core.train.run.click_compatibility import require_click_effect
from swfastedit_core.train.run.execution import Schedule
from swfastedit_core.train.run.settings import RunSettings
from swfastedit_core.train.setting import text_of


def donor_data_sets(specs: tuple[str, ...], asked: tuple[str, ...]) -> tuple[str, ...]:
    """Return the data sets whose lesions are transplanted: those that were asked for, or all that are not phantoms.

    Raises
    ------
    UserError
        If one that was asked for is not among the data sets.
    """
    unknown = next((spec for spec in asked if spec not in specs), None)
    if unknown is not None:
        raise UserError(f"--donor-data {unknown}: expected a data set of --data")
    return asked or tuple(spec for spec in specs if not spec.startswith(f"{PHANTOM}:"))


def require_distinct(specs: tuple[str, ...]) -> None:
    """Refuse a data set that is named twice.

    Raises
    ------
    UserError
        If there is one.
    """
    repeated = next((spec for spec in specs if specs.count(spec) > 1), None)
    if repeated is not None:
        raise UserError(f"--data names {repeated} twice; use --shares to sample more crops of it")


def require_channels_in_use(data: DataSettings) -> None:
    """Refuse numbers of channels if no data set can have channels.

    Raises
    ------
    UserError
        If they have no effect.
    """
    asked = data.pet_channel is not None or data.ct_channel is not None
    if asked and not any(spec.startswith(f"{CHANNELS_LAYOUT}:") for spec in data.specs):
        raise UserError(
            f"--pet-channel and --ct-channel have no effect: they are for data sets of the layout {CHANNELS_LAYOUT}"
        )


def require_test_set(data: DataSettings) -> None:
    """Refuse a test set as the validation set if no data set has one, or if another validation set is asked for.

    Raises
    ------
    UserError
        If there is a contradiction.
    """
    if data.validate_on is None:
        return
    if not any(spec.startswith(f"{CHANNELS_LAYOUT}:") for spec in data.specs):
        raise UserError(f"--validate-on {data.validate_on} needs a data set of the layout {CHANNELS_LAYOUT}")


def require_compatible(settings: RunSettings, schedule: Schedule) -> None:
    """Refuse settings that do not fit each other.

    Raises
    ------
    UserError
        If two settings cannot be combined, or a setting has no effect.
    """
    _require_shares(settings.data)
    _require_effect(settings, schedule)
    _require_crop_size(settings)
    require_click_effect(
        settings.clicks, settings.crops.size, schedule, has_validation_set=settings.data.has_validation_set
    )


def _require_shares(data: DataSettings) -> None:
    """Refuse shares that are not one positive number for each data set."""
    if data.shares and (len(data.shares) != len(data.specs) or not all(share > 0 for share in data.shares)):
        raise UserError(
            f"--shares {text_of(data.shares)}, expected a number above 0 for each of the {len(data.specs)} data sets"
        )


def _require_effect(settings: RunSettings, schedule: Schedule) -> None:
    """Refuse options that would have no effect."""
    config, data = settings.config, settings.data
    if not data.has_validation_set and (schedule.validate_steps or schedule.validation_cases):
        raise UserError(
            "--validate-every and --validation-cases need held-out cases: give --fold, --split or --validate-on"
        )
    if settings.augment.misalign and not config.channels.takes_ct:
        raise UserError("--misalign moves the CT against the PET and needs --channels pet,ct")
    if settings.augment.scale and isinstance(config.preprocessing.intensity, PercentileIntensity):
        raise UserError("--scale has no effect with percentiles, which scale along with the SUV; it needs --suv-range")
    if settings.transplant.probability and not data.donor_data:
        raise UserError(
            "--transplant: --data has only phantoms, which are not donors by default; add patient data, or name donors "
            "with --donor-data"
        )


def _require_crop_size(settings: RunSettings) -> None:
    """Refuse crops that the network cannot take, or that are smaller than a window."""
    network, window, size = settings.config.network, settings.config.window, settings.crops.size
    if not settings.learning.whole_crops:
        if any(side < of_window for side, of_window in zip(size, window, strict=True)):
            raise UserError(
                f"--crop {text_of(size)}, expected at least --window {text_of(window)}, because training cuts crops "
                "into windows; change one of them, or give --whole-crops"
            )
        if settings.learning.deep_supervision and size != window:
            raise UserError(
                "--deep-supervision needs --whole-crops, or crops of the window's size: in windows, only the final "
                "output is computed, not the coarser levels"
            )
    elif not network.accepts(size):
        raise UserError(
            f"--crop {text_of(size)}, expected multiples of {text_of(network.divisor_xyz)} for '{network.name}', "
            "one of them at least twice that"
        )
