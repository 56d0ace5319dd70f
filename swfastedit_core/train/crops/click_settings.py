"""Clicks in training: how many a crop gets, where they lie, how they are painted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swfastedit_core.checkpoint import Channels
from swfastedit_core.checkpoint.encodings import ENCODINGS
from swfastedit_core.click_encodings import ClickEncoding
from swfastedit_core.interactive.simulate.click_numbers import sample_click_number
from swfastedit_core.interactive.simulate.crop_clicks import crop_clicks
from swfastedit_core.interactive.simulate.draw import Draw
from swfastedit_core.interactive.simulate.rules import STOP_RULES
from swfastedit_core.interactive.simulate.strategies import STRATEGIES
from swfastedit_core.train.setting import SHARE, SHARE_BELOW_ONE, at_least, each_number, require_valid, setting

NO_CLICK, FROM_ERROR = -1, -2  # in an array of clicks: no click; a click that the prediction's error will place
KINDS = 2  # tumour, background


@dataclass(frozen=True)
class ClickSettings:
    """Clicks in the training of an interactive network.

    Attributes
    ----------
    interactive
        Train a network that takes clicks.
    encoding
        Name of the encoding, with its default size.
    without
        Share of crops without any click: most windows of a scan have none, and the network should find lesions alone.
        The winner of autoPET IV has no such share.
    most
        Any other crop gets 0 to this number of clicks of each kind; p(k) ∝ ln(most + 2 − k).
    from_errors
        Share of crops in which some of the clicks are placed in the errors of a prediction with the others.
    draw
        How a voxel of an error is drawn; see `draw_voxel`.
    rounds
        The authors' way instead: clicks are placed in up to this number of rounds. 0: clicks are drawn with the crop.
    stop, strategy
        When the rounds of a step end, and where the clicks of a round lie; see `rules` and `strategies`.
    probability, dice_threshold
        Parameters of rules and of the strategy ``deepgrow``.
    max_offset, noisy
        See `crop_clicks`.
    """

    interactive: bool = setting(False, "--interactive", "train a network that takes clicks and works without them")
    encoding: str = setting(
        "graded-ball",
        "--click-encoding",
        "how clicks are painted; disc is the authors'",
        choices=tuple(ENCODINGS),
    )
    without: float = setting(
        0.2, "--without-clicks", "share of crops without any click", metavar="P", check=SHARE_BELOW_ONE
    )
    most: int = setting(
        10, "--max-clicks", "largest number of clicks of each kind in a crop", metavar="N", check=at_least(1)
    )
    from_errors: float = setting(
        0.5,
        "--error-clicks",
        "share of crops in which some clicks are placed in the errors of a prediction",
        metavar="P",
        check=SHARE,
    )
    draw: Draw = setting(
        "uniform",
        "--click-draw",
        "how a voxel of an error is drawn: uniform, as the authors' code does, or with a probability that rises with "
        "the distance to the border of the error, as their text says",
    )
    rounds: int = setting(
        0,
        "--rounds",
        "the authors' way: up to N rounds in a step, each with a prediction and at most one click of each kind in its "
        "errors; 10 in their code",
        metavar="N",
        default_text="clicks are drawn with the crop",
        check=at_least(0),
    )
    stop: str = setting(
        "rounds",
        "--stop",
        "when the rounds of a step end. rounds: after --rounds; probability: also before each round with 1 - "
        "--probability; dice: also if the Dice loss is below --dice-threshold; dice-probability: also with a "
        "probability of 1 - Dice loss; deepgrow: with 1 - --probability there is no round at all",
        choices=tuple(STOP_RULES),
    )
    strategy: str = setting(
        "corrective",
        "--strategy",
        "where the clicks of a round lie. corrective: in the errors; patch-corrective: in those of the worst tile of "
        "128 voxels; deepgrow: as corrective, each round with --probability; non-corrective: anywhere in the label and "
        "in the background",
        choices=tuple(STRATEGIES),
    )
    probability: float = setting(
        0.5,
        "--probability",
        "probability of --stop probability, of --stop deepgrow and of --strategy deepgrow",
        metavar="P",
        check=each_number(lambda share: 0 < share <= 1, "more than 0 and at most 1"),
    )
    dice_threshold: float = setting(0.1, "--dice-threshold", "Dice loss of --stop dice", metavar="X", check=SHARE)
    max_offset: int = setting(3, check=at_least(0))
    noisy: float = setting(0.2, check=SHARE)

    def __post_init__(self) -> None:
        require_valid(self)

    def channels(self, images: Channels) -> Channels:
        """Return the network's channels for these images."""
        return images.with_clicks if self.interactive else images

    def click_encoding(self) -> ClickEncoding | None:
        """Return the encoding for the header of the weights; None for a network without clicks."""
        return ENCODINGS[self.encoding]() if self.interactive else None


def sample_clicks(
    image: np.ndarray, label: np.ndarray, rng: np.random.Generator, settings: ClickSettings
) -> np.ndarray:
    """Sample the clicks of a crop.

    Parameters
    ----------
    image
        Network input, float32 [C, X, Y, Z]; the PET comes first.
    label
        uint8 [X, Y, Z].
    rng
        Random generator.
    settings
        How many and where. Without `interactive`, and in rounds, there are none.

    Returns
    -------
    ndarray
        int64 [2, most, 3], or [2, 0, 3] where there are none: voxels of tumour clicks and of background clicks;
        `NO_CLICK` in unused rows, `FROM_ERROR` in rows of clicks that the trainer places.
    """
    most = settings.most if settings.interactive and not settings.rounds else 0
    clicks = np.full((KINDS, most, 3), NO_CLICK, np.int64)
    if not most or rng.random() < settings.without:
        return clicks
    numbers = [sample_click_number(rng, most) for _ in range(KINDS)]
    later = [0, 0]
    if rng.random() < settings.from_errors:
        later = [int(rng.integers(number + 1)) for number in numbers]
    tumour, background = (number - left for number, left in zip(numbers, later, strict=True))
    simulated = crop_clicks(
        label,
        image[0],
        rng,
        tumour=tumour,
        background=background,
        max_offset=settings.max_offset,
        noisy=settings.noisy,
    )
    for row, placed, left in zip(clicks, (simulated.tumour, simulated.background), later, strict=True):
        row[: len(placed)] = placed
        row[len(placed) : len(placed) + left] = FROM_ERROR
    return clicks
