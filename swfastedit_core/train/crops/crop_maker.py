"""Make a crop from a case: read, transplant lesions, flip, rotate, augment, scale to network input, sample clicks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.errors import UserError
from swfastedit_core.train.crops.augment import AugmentSettings, apply_gamma, augment
from swfastedit_core.train.crops.click_settings import ClickSettings, sample_clicks
from swfastedit_core.train.crops.crops import CropSettings, flip_and_rotate, read_crop, sample_box, to_network_input
from swfastedit_core.train.crops.transplant import Donors, TransplantSettings, transplant
from swfastedit_core.train.store.case_store import PreparedCase


@dataclass(frozen=True, kw_only=True)
class CropMaker:
    """Makes crops for training. Each loader process gets a copy of this object.

    Attributes
    ----------
    cases
        The training set.
    config
        The network's preprocessing and channels.
    crop_settings, augment_settings, transplant_settings, click_settings
        Size and position of crops; augmentation; transplantation of lesions; clicks.
    donor_data_sets
        Data sets of the training set whose lesions are transplanted.

    Raises
    ------
    UserError
        If the transplantation probability is above 0 and no lesion can be a donor.
    """

    cases: Sequence[PreparedCase]
    config: CheckpointConfig
    crop_settings: CropSettings
    augment_settings: AugmentSettings
    transplant_settings: TransplantSettings
    click_settings: ClickSettings
    donor_data_sets: Sequence[str]
    _donors: Donors = field(init=False, repr=False)

    def __post_init__(self) -> None:
        donor_cases = [case for case in self.cases if case.group in self.donor_data_sets]
        donors = Donors(donor_cases, self.transplant_settings, spacing_mm=self.config.preprocessing.spacing_mm)
        if self.transplant_settings.probability and not len(donors):
            raise UserError(
                f"--transplant: none of {sum(len(case.components) for case in donor_cases)} lesions in "
                f"{len(donor_cases)} cases can be a donor. A donor must not touch the edge of its scan and must not be "
                "larger than --largest-donor. Change --largest-donor, or remove --transplant"
            )
        object.__setattr__(self, "_donors", donors)

    def __call__(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Make a crop of a case.

        Returns
        -------
        image : ndarray
            float32 [C, X, Y, Z], 0 to 1, without guidance channels.
        label : ndarray
            uint8 [X, Y, Z].
        clicks : ndarray
            int64 [2, most, 3], from `sample_clicks`.
        """
        case, preprocessing, channels = self.cases[index], self.config.preprocessing, self.config.channels
        spacing_mm = preprocessing.spacing_mm
        box, lesion_free = sample_box(case, rng, self.crop_settings)
        image, label = read_crop(case, box)
        if not lesion_free:
            image, label = transplant(
                image,
                label,
                rng,
                case=case,
                donors=self._donors,
                settings=self.transplant_settings,
                spacing_mm=spacing_mm,
            )
        image, label = flip_and_rotate(image, label, rng, self.crop_settings)
        image = augment(image, rng, self.augment_settings, spacing_mm=spacing_mm, channels=channels)
        image = to_network_input(image, case, preprocessing)
        image = apply_gamma(image, rng, self.augment_settings, channels=channels)
        return image, label, sample_clicks(image, label, rng, self.click_settings)
