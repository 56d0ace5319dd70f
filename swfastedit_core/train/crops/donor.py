"""A donor: a lesion of a case, which is cut out with its surroundings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from swfastedit_core.body import TISSUE_SUV
from swfastedit_core.components import label_components
from swfastedit_core.train.crops.crops import read_crop
from swfastedit_core.train.crops.graft import Graft, ring_of
from swfastedit_core.train.store.case_store import PreparedCase

AIR_BELOW = (TISSUE_SUV, -950.0)  # SUV and HU, in the order of the channels; lung is well above


@dataclass(frozen=True, eq=False)
class Donor:
    """A lesion of a case.

    Attributes
    ----------
    case
        The case; its first channel is the PET.
    component
        Index of the lesion among the case's components.
    """

    case: PreparedCase
    component: int

    def graft(self, *, margin_mm: float, spacing_mm: tuple[float, float, float]) -> Graft:
        """Read the lesion with its surroundings and prepare it for pasting."""
        component = self.case.components[self.component]
        box = component.box.grown(np.ceil(margin_mm / np.array(spacing_mm)))
        image, label = read_crop(self.case, box)
        components, _ = label_components(label)
        lesion = components == components[tuple(component.sample[0] - box.start)]
        weight = _smoothstep_down(ndimage.distance_transform_edt(~lesion, sampling=spacing_mm) / margin_mm)
        neighbours = (components > 0) & ~lesion
        if neighbours.any():  # otherwise a part of a neighbouring lesion is pasted without a label
            weight *= 1 - _smoothstep_down(ndimage.distance_transform_edt(~neighbours, sampling=spacing_mm) / margin_mm)
            weight[lesion] = 1
        backgrounds = []
        for values, air_below in zip(image, AIR_BELOW, strict=False):
            air = ~lesion & (values < air_below)
            tissue = values[ring_of(weight) & ~air]
            backgrounds.append(float(np.median(tissue)) if tissue.size else air_below)
            values[air] = backgrounds[-1]
        return Graft(image, lesion, weight, tuple(backgrounds), float(image[0][lesion].mean()) / backgrounds[0])


def _smoothstep_down(distance: np.ndarray) -> np.ndarray:
    """Return float32 weights that fall smoothly from 1 at a distance of 0 to 0 at 1 and beyond."""
    near = np.clip(1 - distance, 0, 1).astype(np.float32)
    weights: np.ndarray = near * near * (3 - 2 * near)
    return weights
