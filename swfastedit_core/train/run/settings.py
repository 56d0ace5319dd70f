"""Everything that decides what a run learns, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.train.crops.augment import AugmentSettings
from swfastedit_core.train.crops.crops import CropSettings
from swfastedit_core.train.crops.transplant import TransplantSettings


@dataclass(frozen=True)
class DataSettings:
    """What is learned from, and what is held out.

    Attributes
    ----------
    specs
        Data sets, each ``LAYOUT:PATH`` or ``phantom:N``.
    shares
        How often crops are taken from each data set, relative to the others; empty: every case once an epoch.
    fold
        Number of the fold that is held out, and of the folds; None holds out nothing.
    split_file
        File that says who is held out.
    skip_bad
        Leave out cases that cannot be used instead of refusing to begin.
    lesion_labels
        Label values that are lesions; empty: all above 0.
    donors
        Which of `specs` give lesions for transplantation.
    seed
        Of the phantoms.
    """

    specs: tuple[str, ...]
    shares: tuple[float, ...] = ()
    fold: tuple[int, int] | None = None
    split_file: Path | None = None
    skip_bad: bool = False
    lesion_labels: tuple[int, ...] = ()
    donors: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class LearningSettings:
    """How long and how fast to learn.

    Attributes
    ----------
    epochs
        Times that as many crops are taken as there are cases; only if `steps` is None.
    steps
        Number of optimiser steps.
    batch
        Crops a step, over all processes.
    learning_rate
        At the first step; falls as a cosine to 1e-8 at the last.
    seed
        Of weights and crops.
    squared
        Square the probabilities in the Dice loss's denominator, as the authors' code does; their paper does not.
    clip
        Norm that gradients are clipped to; 0 leaves them alone.
    ema
        Decay of an exponential moving average of the weights, which then is what is validated and exported;
        0 for none.
    deep_supervision
        Let coarser levels of the decoder learn to predict as well.
    start
        Weights to begin with; None begins with random ones.
    window_overlap
        Run crops larger than the window in windows that have this share in common; None runs them whole.
    """

    epochs: int = 400
    steps: int | None = None
    batch: int = 1
    learning_rate: float = 2e-4
    seed: int = 0
    squared: bool = True
    clip: float = 0.0
    ema: float = 0.0
    deep_supervision: bool = False
    start: Path | None = None
    window_overlap: float | None = None

    def total_steps(self, cases: int) -> int:
        """Return the number of optimiser steps with so many cases to learn from."""
        return self.steps if self.steps is not None else max(1, -(-self.epochs * cases // self.batch))


@dataclass(frozen=True)
class RunSettings:
    """Everything that decides which weights a run ends with, apart from the machine.

    Attributes
    ----------
    config
        Network, preprocessing, window, channels, and the terms of the weights.
    data, crops, augment, transplant, learning
        See there.
    """

    config: CheckpointConfig
    data: DataSettings
    crops: CropSettings
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    transplant: TransplantSettings = field(default_factory=TransplantSettings)
    learning: LearningSettings = field(default_factory=LearningSettings)

    def settings(self) -> dict[str, Any]:
        """Return all of it by name, as texts: what a resumed run must have in common with the one before."""
        flat = {}
        for part, values in asdict(self).items():
            for name, value in values.items():
                flat[f"{part}.{name}"] = repr(value)
        return flat


@dataclass(frozen=True)
class Machine:
    """How a run uses the machine; may change when it is resumed, but for the precision.

    Attributes
    ----------
    precision
        ``float32``, ``bfloat16`` or ``float16``.
    compiled
        Let torch compile the network.
    loaders
        Processes that make crops.
    preparers
        Processes that prepare cases.
    """

    precision: str
    compiled: bool = False
    loaders: int = 1
    preparers: int = 1


@dataclass(frozen=True)
class Schedule:
    """How often a run looks up from its work.

    Attributes
    ----------
    log_steps
        Steps between two lines of the log.
    save_minutes
        Minutes between two saved states.
    keep
        Saved states that are kept.
    validate_steps
        Steps between two validations; 0: at the end only.
    validation_cases
        Most held-out cases that a validation takes; 0: all.
    validation_overlap
        Of the windows there.
    """

    log_steps: int = 50
    save_minutes: float = 10.0
    keep: int = 3
    validate_steps: int = 0
    validation_cases: int = 0
    validation_overlap: float = 0.5
