"""Checks of the settings of clicks against each other: settings without effect are refused."""

from __future__ import annotations

from collections.abc import Iterator

from swfastedit_core.box import Triple
from swfastedit_core.errors import UserError
from swfastedit_core.interactive.simulate.strategies import TILE
from swfastedit_core.train.crops.click_settings import ClickSettings
from swfastedit_core.train.run.execution import Schedule
from swfastedit_core.train.setting import options_of

OF_ROUNDS = ("stop", "strategy", "probability", "dice_threshold")
OF_DRAWN_CLICKS = ("without", "most", "from_errors")
NEED_PROBABILITY = ("probability", "deepgrow")  # stopping rules


def require_click_effect(clicks: ClickSettings, crop: Triple, schedule: Schedule, *, has_validation_set: bool) -> None:
    """Refuse settings of clicks that would have no effect.

    Parameters
    ----------
    clicks
        The settings. A setting counts as given if it is not the default.
    crop
        Voxels of a crop.
    schedule
        With the number of clicks in a validation.
    has_validation_set
        Whether cases are held out.

    Raises
    ------
    UserError
        If there is such a setting.
    """
    for flag, reason in _useless(clicks, crop):
        raise UserError(f"{flag} has no effect {reason}")
    if schedule.validation_clicks != Schedule.validation_clicks and not (clicks.interactive and has_validation_set):
        missing = "held-out cases: give --fold, --split or --validate-on" if clicks.interactive else "--interactive"
        raise UserError(f"--validation-clicks has no effect without {missing}")


def _useless(clicks: ClickSettings, crop: Triple) -> Iterator[tuple[str, str]]:
    """Yield flags of settings without effect, each with the reason."""
    flags = {field.name: option.flag or field.name for field, option in options_of(ClickSettings)}
    default = ClickSettings()
    given = {name: flag for name, flag in flags.items() if getattr(clicks, name) != getattr(default, name)}
    if not clicks.interactive:
        yield from ((flag, "without --interactive") for flag in given.values())
    elif not clicks.rounds:
        yield from ((given[name], "without --rounds") for name in OF_ROUNDS if name in given)
        if "draw" in given and not clicks.from_errors:
            yield given["draw"], "with --error-clicks 0"
    else:
        yield from (
            (given[name], "with --rounds, which places all clicks") for name in OF_DRAWN_CLICKS if name in given
        )
        yield from _useless_in_rounds(clicks, crop, given)


def _useless_in_rounds(clicks: ClickSettings, crop: Triple, given: dict[str, str]) -> Iterator[tuple[str, str]]:
    if "draw" in given and clicks.strategy == "non-corrective":
        yield given["draw"], "with --strategy non-corrective, which always draws uniformly"
    if "probability" in given and clicks.stop not in NEED_PROBABILITY and clicks.strategy != "deepgrow":
        yield given["probability"], "without --stop probability, --stop deepgrow or --strategy deepgrow"
    if "dice_threshold" in given and clicks.stop != "dice":
        yield given["dice_threshold"], "without --stop dice"
    if clicks.strategy == "patch-corrective" and max(crop) <= TILE:
        yield f"--strategy {clicks.strategy}", f"unless --crop is larger than its tiles of {TILE} voxels"
