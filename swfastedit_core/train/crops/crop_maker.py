"""From a case to a crop as the network gets it: read, transplant, turn, augment, scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swfastedit_core.errors import UserError
from swfastedit_core.train.crops.augment import augmented, with_gamma
from swfastedit_core.train.crops.crops import draw_box, read_crop, to_network_input, turned
from swfastedit_core.train.crops.transplant import Donors, transplanted
from swfastedit_core.train.run.settings import RunSettings
from swfastedit_core.train.store.case_store import PreparedCase


@dataclass(frozen=True)
class Draw:
    """Makes crops; goes to the processes that do so.

    Attributes
    ----------
    recipe
        What to do with them.
    cases
        To learn from.
    donors
        Their lesions that may be transplanted.
    """

    recipe: RunSettings
    cases: Sequence[PreparedCase]
    donors: Donors

    @classmethod
    def of(cls, recipe: RunSettings, cases: Sequence[PreparedCase]) -> Draw:
        """Let the cases of the recipe's donor data sets give lesions, all of them cases that are learned from.

        Raises
        ------
        UserError
            If lesions are to be transplanted and there is none for it.
        """
        giving = [case for case in cases if case.group in recipe.data.donors]
        spacing_mm = recipe.config.preprocessing.spacing_mm
        donors = Donors(giving, recipe.transplant, spacing_mm=spacing_mm)
        if recipe.transplant.probability and not len(donors):
            raise UserError(
                f"--transplant: none of {sum(len(case.components) for case in giving)} lesions in {len(giving)} cases "
                "can be a donor, whole within its scan and no larger than --largest-donor; leave it out"
            )
        return cls(recipe, cases, donors)

    def __call__(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Make a crop of a case.

        Returns
        -------
        image : ndarray
            float32 [C, X, Y, Z], 0 to 1.
        label : ndarray
            uint8 [X, Y, Z].
        """
        recipe, case = self.recipe, self.cases[index]
        preprocessing, channels = recipe.config.preprocessing, recipe.config.channels
        spacing_mm = preprocessing.spacing_mm
        box, empty = draw_box(case, rng, recipe.crops)
        image, label = read_crop(case, box)
        if not empty:
            image, label = transplanted(
                image, label, rng, case=case, donors=self.donors, settings=recipe.transplant, spacing_mm=spacing_mm
            )
        image, label = turned(image, label, rng, recipe.crops)
        image = augmented(image, rng, recipe.augment, spacing_mm=spacing_mm, channels=channels)
        image = to_network_input(image, case, preprocessing)
        return with_gamma(image, rng, recipe.augment, channels=channels), label
