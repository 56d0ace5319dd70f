"""The settings of a run: frozen dataclasses whose fields are options of the command line."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.train.crops.augment import AugmentSettings
from swfastedit_core.train.crops.click_settings import ClickSettings
from swfastedit_core.train.crops.crops import CropSettings
from swfastedit_core.train.crops.transplant import TransplantSettings
from swfastedit_core.train.data.settings import DataSettings
from swfastedit_core.train.setting import (
    SHARE_BELOW_ONE,
    at_least,
    each_number,
    options_of,
    require_valid,
    setting,
)


@dataclass(frozen=True)
class LearningSettings:
    """Length of the training, optimiser and loss."""

    epochs: int = setting(400, "--epochs", "epochs; an epoch has one crop for each case", check=at_least(1))
    steps: int | None = setting(None, "--steps", "optimiser steps, instead of --epochs", check=at_least(1))
    batch: int = setting(1, "--batch", "crops in a step, over all processes", check=at_least(1))
    learning_rate: float = setting(
        2e-4,
        "--learning-rate",
        "learning rate of the first step; it falls as a cosine to 1e-8",
        metavar="X",
        check=each_number(lambda rate: 0 < rate < 1, "more than 0 and less than 1"),
    )
    initial_weights: Path | None = setting(
        None,
        "--start-from",
        "fine-tune these weights, of the same network, channels, spacing and intensities",
        metavar="WEIGHTS",
        default_text="random weights",
        names_files=True,
    )
    seed: int = setting(0, "--seed", "seed of weights, crops and phantoms", check=at_least(0))
    plain_dice: bool = setting(
        False,
        "--plain-dice",
        "use the paper's Dice loss, without squares; the default squares the probabilities, as the authors' code does",
    )
    window_overlap: float | None = setting(
        None,
        "--train-in-windows",
        "cut crops into windows with this overlap, as in inference; 0.25 in the recipe",
        metavar="OVERLAP",
        default_text="the network sees whole crops",
        check=SHARE_BELOW_ONE,
    )
    clip: float = setting(
        0.0, "--clip", "norm to which gradients are clipped", metavar="NORM", default_text="none", check=at_least(0)
    )
    ema: float = setting(
        0.0,
        "--ema",
        "validate and export an exponential moving average of the weights with this decay",
        metavar="DECAY",
        default_text="none",
        check=SHARE_BELOW_ONE,
    )
    deep_supervision: bool = setting(False, "--deep-supervision", "add the losses of the decoder's coarser levels")

    def __post_init__(self) -> None:
        require_valid(self)

    def total_steps(self, cases: int) -> int:
        """Return the number of optimiser steps for this number of training cases."""
        return self.steps if self.steps is not None else max(1, -(-self.epochs * cases // self.batch))


@dataclass(frozen=True)
class RunSettings:
    """All settings that change the resulting weights. A resumed run must have the same.

    Attributes
    ----------
    config
        Network, preprocessing, window, channels, and the terms of the weights.
    data, crops, augment, transplant, learning, clicks
        Data sets and split; size and position of crops; augmentation; transplantation of lesions; optimiser and loss;
        clicks.
    """

    config: CheckpointConfig
    data: DataSettings
    crops: CropSettings
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    transplant: TransplantSettings = field(default_factory=TransplantSettings)
    learning: LearningSettings = field(default_factory=LearningSettings)
    clicks: ClickSettings = field(default_factory=ClickSettings)

    def by_name(self) -> dict[str, str]:
        """Return every setting as text. The key is its flag, or the name of its field if it has no flag.

        A state file stores them, so that a resumed run can compare them.
        """
        named = {each.name: repr(getattr(self.config, each.name)) for each in fields(self.config)}
        for part in (self.data, self.crops, self.augment, self.transplant, self.learning, self.clicks):
            flags = {each.name: option.flag for each, option in options_of(part)}
            named |= {flags.get(each.name) or each.name: repr(getattr(part, each.name)) for each in fields(part)}
        return named
