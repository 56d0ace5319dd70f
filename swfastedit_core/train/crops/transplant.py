"""Transplantation: real lesions with their surroundings are pasted into crops of other patients."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from swfastedit_core.body import TISSUE_SUV, mean_cells
from swfastedit_core.box import triple
from swfastedit_core.train.crops.augment import Range, log_uniform
from swfastedit_core.train.crops.donor import Donor
from swfastedit_core.train.crops.graft import Graft, paste
from swfastedit_core.train.setting import (
    ABOVE_0,
    FINITE_ABOVE_0,
    FINITE_AT_LEAST_0,
    RANGE_ABOVE_0,
    SHARE,
    at_least,
    require_valid,
    setting,
)
from swfastedit_core.train.store.case_store import PreparedCase

TRIES = 10  # positions for one lesion
CACHE_BYTES = 256 * 2**20
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class TransplantSettings:
    """How often lesions are transplanted, and which.

    Attributes
    ----------
    probability
        Probability that a crop gets lesions.
    max_lesions
        Maximum number of lesions in a crop. The number to try is sampled uniformly from 1 to this.
    margin_mm
        Margin around a lesion that is pasted with it.
    contrast_range
        Lowest and highest factor on a lesion's SUV above its background, sampled uniformly on a logarithmic scale.
    least_contrast
        Lesions with a mean SUV below this multiple of their background are not donors: contours made on another
        modality include cold lesions.
    largest_ml
        Larger lesions are not donors.
    """

    probability: float = setting(
        0.0,
        "--transplant",
        "probability that lesions of other scans are pasted into a crop",
        metavar="P",
        check=SHARE,
    )
    max_lesions: int = setting(
        3, "--max-transplants", "maximum number of lesions that are pasted into a crop", metavar="N", check=at_least(1)
    )
    margin_mm: float = setting(
        12.0, "--margin", "width of the surroundings that are pasted with a lesion", metavar="MM", check=FINITE_ABOVE_0
    )
    contrast_range: Range = setting(
        (1.0, 1.0),
        "--contrast",
        "factor on a pasted lesion's contrast",
        metavar=("LOW", "HIGH"),
        check=RANGE_ABOVE_0,
    )
    least_contrast: float = setting(
        0.0,
        "--least-contrast",
        "skip donors whose mean SUV is below this many times their background",
        metavar="X",
        check=FINITE_AT_LEAST_0,
    )
    largest_ml: float = setting(
        math.inf, "--largest-donor", "skip donors larger than this", metavar="ML", default_text="none", check=ABOVE_0
    )

    def __post_init__(self) -> None:
        require_valid(self)


class Donors:
    """The lesions of some cases, with a cache of grafts.

    Lesions at the edge of their scan are not donors, because they have a flat cut surface.

    Parameters
    ----------
    cases
        Cases of the training set only, never of the validation set. Cases without lesions are allowed.
    settings
        Transplantation settings; margin and largest volume are used.
    spacing_mm
        Spacing of all cases.
    cache_bytes
        Memory of the cache in each process; the least recently used grafts are dropped.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        settings: TransplantSettings,
        *,
        spacing_mm: Spacing,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        max_voxels = settings.largest_ml * 1000 / math.prod(spacing_mm)
        self._donors = [
            Donor(case, number)
            for case in cases
            for number, lesion in enumerate(case.components)
            if lesion.voxels <= max_voxels and min(*lesion.box.start, *np.subtract(case.shape, lesion.box.stop)) > 0
        ]
        self._margin_mm, self._spacing_mm = settings.margin_mm, spacing_mm
        self._cache: OrderedDict[int, Graft] = OrderedDict()
        self._free_bytes = cache_bytes

    def __len__(self) -> int:
        return len(self._donors)

    def case_of(self, number: int) -> PreparedCase:
        """Return the case of a lesion."""
        return self._donors[number].case

    def __getitem__(self, number: int) -> Graft:
        graft = self._cache.pop(number, None)
        if graft is None:
            graft = self._donors[number].graft(margin_mm=self._margin_mm, spacing_mm=self._spacing_mm)
            self._free_bytes -= graft.nbytes
            while self._free_bytes < 0 and self._cache:
                self._free_bytes += self._cache.popitem(last=False)[1].nbytes
        self._cache[number] = graft
        return graft


def transplant(
    image: np.ndarray,
    label: np.ndarray,
    rng: np.random.Generator,
    *,
    case: PreparedCase,
    donors: Donors,
    settings: TransplantSettings,
    spacing_mm: Spacing,
) -> tuple[np.ndarray, np.ndarray]:
    """Paste lesions into a crop at random.

    Every lesion of the donors has the same probability; lesions of the crop's own scan are left out. The lesion gets a
    random orientation. Its middle is put on a random voxel of tissue. Parts outside the crop are cut off, as at the
    edge of a window. If `paste` refuses a position, another one is tried, up to `TRIES` in all.

    Parameters
    ----------
    image, label
        float32 [C, X, Y, Z] in SUV and HU, the PET first, and uint8 [X, Y, Z]; not changed in place. The CT changes
        with the PET if both donor and crop have one; otherwise only the PET changes.
    case
        The case of the crop.
    spacing_mm
        Along x, y, z.

    Returns
    -------
    image, label : ndarray
        Of the same shapes.
    """
    if not len(donors) or rng.random() >= settings.probability:
        return image, label
    image, label = image.copy(), label.copy()
    tissue = find_tissue(image[0], spacing_mm)
    positions = np.flatnonzero(tissue)
    for _ in range(int(rng.integers(1, settings.max_lesions + 1)) if len(positions) else 0):
        number = int(rng.integers(len(donors)))
        if donors.case_of(number).folder == case.folder:
            continue
        graft = donors[number]
        if graft.contrast < settings.least_contrast:
            continue
        graft, factor = graft.reorient(rng), log_uniform(rng, settings.contrast_range)
        for _ in range(TRIES):
            centre = triple(np.unravel_index(positions[rng.integers(len(positions))], tissue.shape))
            if paste(image, label, graft, centre=centre, factor=factor, tissue=tissue):
                break
    return image, label


def find_tissue(suv: np.ndarray, spacing_mm: Spacing) -> np.ndarray:
    """Return the voxels of a crop [X, Y, Z] that are tissue, by cells as in `body.find_body`: bool, same shape."""
    cells = mean_cells(torch.from_numpy(suv), spacing_mm)
    tissue = cells.mean_suv > TISSUE_SUV
    for axis in range(3):
        tissue = tissue.repeat(cells.cell[axis], axis)
    x, y, z = suv.shape
    return tissue[:x, :y, :z]
