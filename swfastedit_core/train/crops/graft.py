"""Grafts: a lesion with its surroundings, pasted into a crop of another patient.

The weight of a graft is 1 on the lesion and falls smoothly to 0 at the margin. The recipient becomes
``(1 - weight) · recipient + weight · graft``. Before pasting, the SUV of the graft are scaled to the background of the
recipient; otherwise a halo is visible. A background is the median over the outer half of the margin, because the inner
half contains the blurred lesion. HU are absolute and are not changed. A position is refused if the CT shows another
tissue there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from swfastedit_core.box import Box, Triple, triple

IN_TISSUE = 0.9  # lowest share of a lesion's voxels in tissue; a lesion in the skin may extend beyond the surface
# Voxels above this SUV belong to bladder, brain, heart or kidneys. A graft must not overwrite a part of them.
HOT_SUV = 4.0
HOT_SHARE = 0.05  # highest share of hot voxels under a graft
SAME_TISSUE_HU = 250.0  # largest difference within a tissue; fat and muscle differ by less, lung and muscle by more


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
        Median SUV and median HU over `ring`. The median SUV is greater than 0.
    contrast
        Mean SUV of the lesion divided by the SUV of the background.
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
        """Return a block of the graft. Backgrounds and contrast stay those of the whole graft."""
        x, y, z = box.slices
        return replace(self, image=self.image[:, x, y, z], lesion=self.lesion[x, y, z], weight=self.weight[x, y, z])

    def reorient(self, rng: np.random.Generator) -> Graft:
        """Return the graft in one of the 48 orientations of a cube, each with the same probability.

        Axes are permuted and flipped without interpolation. If the spacings differ, the lesion is stretched.
        """
        axes = [int(axis) - 3 for axis in rng.permutation(3)]
        flipped = tuple(axis for axis in (-3, -2, -1) if rng.random() < 0.5)
        lesion, weight = (np.flip(array.transpose(axes), flipped) for array in (self.lesion, self.weight))
        return replace(self, image=np.flip(self.image.transpose(0, *axes), flipped), lesion=lesion, weight=weight)


def paste(
    image: np.ndarray, label: np.ndarray, graft: Graft, *, centre: Triple, factor: float, tissue: np.ndarray
) -> bool:
    """Paste a graft into a crop, in place, unless the position is refused.

    A position is refused if more than a tenth of the lesion would be outside of tissue, if the graft would touch
    another lesion or cut an organ hotter than `HOT_SUV`, or if the CT shows another tissue.

    Parameters
    ----------
    image, label, tissue
        The crop, float32 [C, X, Y, Z] and uint8 [X, Y, Z], and the voxels of it that are tissue, bool [X, Y, Z].
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
    image_part, label_part, tissue_part = image[:, x, y, z], label[x, y, z], tissue[x, y, z]
    changed, ring = graft.weight > 0, graft.ring & tissue_part
    if (
        not graft.lesion.any()
        or not ring.any()
        or label_part[changed].any()
        or tissue_part[graft.lesion].mean() < IN_TISSUE
        or (image_part[0][changed] > HOT_SUV).mean() > HOT_SHARE
    ):
        return False
    # Only the PET is pasted if the donor or the crop has no CT.
    backgrounds = [
        (float(np.median(values[ring])), background)
        for values, background in zip(image_part, graft.backgrounds, strict=False)
    ]
    if any(abs(target - source) > SAME_TISSUE_HU for target, source in backgrounds[1:]):
        return False
    target_suv, source_suv = backgrounds[0]
    suv = rescale_to_background(graft.image[0], background_suv=source_suv, new_background_suv=target_suv, factor=factor)
    for target, source in zip(image_part, [suv, *graft.image[1:]], strict=False):
        target += graft.weight * (source - target)
    label_part[graft.lesion] = 1
    return True


def rescale_to_background(
    suv: np.ndarray, *, background_suv: float, new_background_suv: float, factor: float
) -> np.ndarray:
    """Scale SUV so that their background becomes `new_background_suv`.

    Above the background, the difference to the background is multiplied by `factor`. Below, the ratio to the background
    stays the same: a necrosis stays cold, and no SUV becomes negative.
    """
    excess = np.maximum(suv - np.float32(background_suv), 0)
    rescaled: np.ndarray = (suv - excess) * np.float32(new_background_suv / background_suv)
    rescaled += excess * np.float32(factor)
    return rescaled


def ring_of(weight: np.ndarray) -> np.ndarray:
    """Return the outer half of the margin, bool [X, Y, Z], in which the backgrounds are compared."""
    ring: np.ndarray = (weight > 0) & (weight < 0.5)
    return ring
