"""When the rounds of clicks of a training step end: the rules of SW-FastEdit.

Source: matt3o/AutoPET2-Submission, click_definitions.py and interaction.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, kw_only=True)
class StopSettings:
    """Parameters of the rules.

    Attributes
    ----------
    probability
        Rule ``probability``: of each further round. Rule ``deepgrow``: that the step has rounds at all.
    dice_loss
        Rule ``dice``: the step ends if the Dice loss is below this value.
    """

    probability: float = 0.5
    dice_loss: float = 0.1


class StopRule(Protocol):
    """Whether the rounds of a training step end.

    Parameters
    ----------
    round_
        Number of the round that would come next; 0 is the first.
    rng
        Random generator.
    rounds
        Largest number of rounds; each rule stops there.
    dice_loss
        Dice loss (background excluded) of the last prediction; 1 before the first one.
    settings
        Parameters of the rules.
    """

    def __call__(
        self, round_: int, rng: np.random.Generator, *, rounds: int, dice_loss: float, settings: StopSettings
    ) -> bool:
        """Return whether to stop before this round."""
        ...


def stop_after_rounds(
    round_: int, rng: np.random.Generator, *, rounds: int, dice_loss: float, settings: StopSettings
) -> bool:
    """Stop after all rounds."""
    return round_ >= rounds


def stop_at_random(
    round_: int, rng: np.random.Generator, *, rounds: int, dice_loss: float, settings: StopSettings
) -> bool:
    """Stop before each round with probability 1 − p: the step has k < `rounds` rounds with probability (1 − p) pᵏ."""
    return round_ >= rounds or rng.random() >= settings.probability


def stop_at_dice(
    round_: int, rng: np.random.Generator, *, rounds: int, dice_loss: float, settings: StopSettings
) -> bool:
    """Stop if the Dice loss is low enough."""
    return round_ >= rounds or dice_loss < settings.dice_loss


def stop_at_random_dice(
    round_: int, rng: np.random.Generator, *, rounds: int, dice_loss: float, settings: StopSettings
) -> bool:
    """Stop with probability 1 − Dice loss, so a good prediction ends the rounds sooner; there is always one round."""
    return round_ >= rounds or rng.random() >= dice_loss


def stop_as_deepgrow(
    round_: int, rng: np.random.Generator, *, rounds: int, dice_loss: float, settings: StopSettings
) -> bool:
    """Have no round at all with probability 1 − p, otherwise all rounds."""
    return round_ >= rounds or (round_ == 0 and rng.random() >= settings.probability)


STOP_RULES: dict[str, StopRule] = {
    "rounds": stop_after_rounds,
    "probability": stop_at_random,
    "dice": stop_at_dice,
    "dice-probability": stop_at_random_dice,
    "deepgrow": stop_as_deepgrow,
}
