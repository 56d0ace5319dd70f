"""Grafts: a lesion with its surroundings, pasted into a crop of another patient.

The weight of a graft is 1 on the lesion and falls smoothly to 0 at the margin. The recipient becomes
``(1 - weight) · recipient + weight · graft``. Before that the graft is brought to the background of the recipient, so
that no halo remains: both backgrounds are medians over the outer half of the margin, beyond the blur of the lesion. HU
are absolute and are not changed; a place is refused where the CT shows another tissue.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from swfastedit_core.box import Box, Triple, triple

IN_PATIENT = 0.9  # lowest share of a lesion's voxels inside the patient; a superficial lesion may bulge
HOT_SUV = 4.0  # bladder, brain, heart, kidneys: no scan shows half an organ beside a lesion
HOT_SHARE = 0.05  # highest share of hot voxels under a graft
SAME_TISSUE_HU = 250.0  # largest difference within a tissue: fat and muscle pass, lung and muscle do not


@dataclass(frozen=True, eq=False)
class Graft:
    """A lesion with its surroundings, ready to be pasted.

    Attributes
    ----------
    image
        float32 [C, X, Y, Z] in SUV and HU, the PET first.
    lesion
        bool [X, Y, Z].
    weight
        float32 [X, Y, Z]: 1 on the lesion, 0.5 at half the margin, 0 beyond it and on neighbouring lesions.
    backgrounds
        Median SUV and HU over the ring. SUV above 0.
    contrast
        Mean SUV of the lesion over that of the background.
    """

    image: np.ndarray
    lesion: np.ndarray
    weight: np.ndarray
    backgrounds: tuple[float, ...]
    contrast: float

    @property
    def ring(self) -> np.ndarray:
        """The outer half of the margin, bool [X, Y, Z], in which the backgrounds are compared."""
        return ring_of(self.weight)

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return self.image.nbytes + self.lesion.nbytes + self.weight.nbytes

    def part(self, box: Box) -> Graft:
        """Return a block of the graft; backgrounds and contrast are still those of the whole."""
        x, y, z = box.slices
        return replace(self, image=self.image[:, x, y, z], lesion=self.lesion[x, y, z], weight=self.weight[x, y, z])

    def turned(self, rng: np.random.Generator) -> Graft:
        """Return the graft in one of the 48 orientations of a cube, each with the same probability.

        Voxels change places: where the axes' spacings differ the lesion is stretched by their ratio.
        """
        axes = [int(axis) - 3 for axis in rng.permutation(3)]
        flipped = tuple(axis for axis in (-3, -2, -1) if rng.random() < 0.5)
        lesion, weight = (np.flip(array.transpose(axes), flipped) for array in (self.lesion, self.weight))
        return replace(self, image=np.flip(self.image.transpose(0, *axes), flipped), lesion=lesion, weight=weight)


def paste(
    image: np.ndarray, label: np.ndarray, graft: Graft, *, centre: Triple, factor: float, patient: np.ndarray
) -> bool:
    """Paste a graft into a crop, in place, unless the place is refused.

    A place is refused if more than a tenth of the lesion would lie outside the patient, if the graft would touch
    another lesion or cut an organ hotter than `HOT_SUV`, or if the CT shows another tissue.

    Parameters
    ----------
    image, label, patient
        The crop, float32 [C, X, Y, Z] and uint8 [X, Y, Z], and where the patient is in it, bool [X, Y, Z].
    centre
        Voxel of the crop for the middle of the graft.
    factor
        Factor on the lesion's SUV above its background.

    Returns
    -------
    bool
        Whether the graft was pasted; if not, nothing changed.
    """
    whole = Box.at(np.subtract(centre, np.array(graft.lesion.shape) // 2), graft.lesion.shape)
    place = whole.clipped(Box.whole(triple(label.shape)))
    graft = graft.part(place.relative_to(whole))
    x, y, z = place.slices
    there, label_there, patient_there = image[:, x, y, z], label[x, y, z], patient[x, y, z]
    reached, ring = graft.weight > 0, graft.ring & patient_there
    if (
        not graft.lesion.any()
        or not ring.any()
        or label_there[reached].any()
        or patient_there[graft.lesion].mean() < IN_PATIENT
        or (there[0][reached] > HOT_SUV).mean() > HOT_SHARE
    ):
        return False
    # Only the PET is pasted if the donor or the crop has no CT.
    levels = [(float(np.median(values[ring])), level) for values, level in zip(there, graft.backgrounds, strict=False)]
    if any(abs(here - level) > SAME_TISSUE_HU for here, level in levels[1:]):
        return False
    suv = at_level(graft.image[0], level_suv=levels[0][1], new_level_suv=levels[0][0], factor=factor)
    for recipient, donor in zip(there, [suv, *graft.image[1:]], strict=False):
        recipient += graft.weight * (donor - recipient)
    label_there[graft.lesion] = 1
    return True


def at_level(suv: np.ndarray, *, level_suv: float, new_level_suv: float, factor: float) -> np.ndarray:
    """Bring SUV from one background to another.

    SUV above the background keep their difference to it, times `factor`. SUV below keep their ratio to it, so that a
    necrosis stays cold and no SUV becomes negative.
    """
    excess = np.maximum(suv - np.float32(level_suv), 0)
    level: np.ndarray = (suv - excess) * np.float32(new_level_suv / level_suv)
    level += excess * np.float32(factor)
    return level


def ring_of(weight: np.ndarray) -> np.ndarray:
    """Return the outer half of the margin, bool [X, Y, Z], in which the backgrounds are compared."""
    ring: np.ndarray = (weight > 0) & (weight < 0.5)
    return ring
