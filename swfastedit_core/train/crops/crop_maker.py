"""From a case to a crop as the network takes it: read, transplant, flip and rotate, augment, scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.errors import UserError
from swfastedit_core.train.crops.augment import AugmentSettings, augmented, with_gamma
from swfastedit_core.train.crops.crops import CropSettings, flip_and_rotate, read_crop, sample_box, to_network_input
from swfastedit_core.train.crops.transplant import Donors, TransplantSettings, transplanted
from swfastedit_core.train.store.case_store import PreparedCase


@dataclass(frozen=True, kw_only=True)
class CropMaker:
    """Makes crops for training. It is sent to the processes that load them.

    Attributes
    ----------
    cases
        The training set.
    config
        The network's preprocessing and channels.
    crops, augment, transplant
        Which crops, and what is done to them.
    donor_data_sets
        Data sets of the training set whose lesions are transplanted.

    Raises
    ------
    UserError
        If lesions are to be transplanted and no lesion can be a donor.
    """

    cases: Sequence[PreparedCase]
    config: CheckpointConfig
    crops: CropSettings
    augment: AugmentSettings
    transplant: TransplantSettings
    donor_data_sets: Sequence[str]
    _donors: Donors = field(init=False, repr=False)

    def __post_init__(self) -> None:
        giving = [case for case in self.cases if case.group in self.donor_data_sets]
        donors = Donors(giving, self.transplant, spacing_mm=self.config.preprocessing.spacing_mm)
        if self.transplant.probability and not len(donors):
            raise UserError(
                f"--transplant: none of {sum(len(case.components) for case in giving)} lesions in {len(giving)} cases "
                "can be a donor, whole within its scan and no larger than --largest-donor; leave it out"
            )
        object.__setattr__(self, "_donors", donors)

    def __call__(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Make a crop of a case.

        Returns
        -------
        image : ndarray
            float32 [C, X, Y, Z], 0 to 1.
        label : ndarray
            uint8 [X, Y, Z].
        """
        case, preprocessing, channels = self.cases[index], self.config.preprocessing, self.config.channels
        spacing_mm = preprocessing.spacing_mm
        box, empty = sample_box(case, rng, self.crops)
        image, label = read_crop(case, box)
        if not empty:
            image, label = transplanted(
                image, label, rng, case=case, donors=self._donors, settings=self.transplant, spacing_mm=spacing_mm
            )
        image, label = flip_and_rotate(image, label, rng, self.crops)
        image = augmented(image, rng, self.augment, spacing_mm=spacing_mm, channels=channels)
        image = to_network_input(image, case, preprocessing)
        return with_gamma(image, rng, self.augment, channels=channels), label
