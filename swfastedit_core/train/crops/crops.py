"""Crops: the place of a crop, its voxels, flips and rotations, and the network input.

The order is `sample_box`, `read_crop`, then the steps in SUV and HU (`transplant`, `flip_and_rotate`, `augment`), then
`to_network_input`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swfastedit_core.box import Box, Triple
from swfastedit_core.preprocess import Preprocessing
from swfastedit_core.train.setting import SHARE, at_least, each_number, require_valid, setting
from swfastedit_core.train.store.case_store import PreparedCase
from swfastedit_core.volume import AIR_HU

AIR = {"pet": 0.0, "ct": AIR_HU}  # around a volume that is smaller than the crop
LESION_FREE_TRIES = 20


@dataclass(frozen=True)
class CropSettings:
    """Which crops are taken; the defaults are the recipe's.

    Attributes
    ----------
    size
        Voxels along x, y, z.
    positive
        Share of crops centred on a voxel of a lesion, where the case has one.
    in_patient
        Of the others, the share centred on a voxel of the patient; the rest lies anywhere, air included.
    small_lesion_exponent
        0 draws a lesion as often as it has voxels, as a random voxel of the label does; 1 draws all lesions equally
        often. In between a lesion of n voxels weighs n to the power of 1 less this.
    jitter
        Up to this share of its side a positive crop is moved along each axis, so that lesions lie anywhere in it and
        not in its middle; at most 0.5.
    lesion_free
        Share of crops that are centred in the patient and hold no lesion, as most windows of a whole body. Of a case
        that has no such place another crop is taken.
    flip
        Probability of a flip, for each axis.
    rotate
        Probability of a turn about the body axis.
    """

    size: Triple = setting((224, 224, 224), "--crop", "voxels of a crop along x, y, z", metavar="N", check=at_least(1))
    positive: float = setting(0.6, "--positive", "share of crops around a lesion voxel", metavar="P", check=SHARE)
    in_patient: float = setting(
        0.0,
        "--in-patient",
        "share of the other crops that are centred on a voxel of the patient",
        metavar="P",
        check=SHARE,
    )
    small_lesion_exponent: float = setting(
        0.0,
        "--small-lesions",
        "0 chooses a lesion as often as it has voxels, 1 chooses all lesions equally often",
        metavar="X",
        check=SHARE,
    )
    jitter: float = setting(
        0.0,
        "--jitter",
        "how far from a crop's middle a lesion may lie, as a share of the crop's side, at most 0.5",
        metavar="X",
        check=each_number(lambda share: 0 <= share <= 0.5, "a number from 0 to 0.5"),
    )
    lesion_free: float = setting(
        0.0, "--lesion-free", "share of crops in the patient without a lesion", metavar="P", check=SHARE
    )
    flip: float = setting(0.1, "--flip", "probability of a flip, for each axis", metavar="P", check=SHARE)
    rotate: float = setting(
        0.1, "--rotate", "probability of quarter turns about the body axis", metavar="P", check=SHARE
    )

    def __post_init__(self) -> None:
        require_valid(self)


def sample_box(case: PreparedCase, rng: np.random.Generator, settings: CropSettings) -> tuple[Box, bool]:
    """Sample the place of a crop.

    Returns
    -------
    box : Box
        Of `settings.size`, inside the volume. Along an axis on which the volume is smaller, the box lies around its
        middle: it starts before voxel 0 and stops behind the last voxel.
    empty : bool
        Whether this is a whole view, which has no lesion and must get none.
    """
    if rng.random() < settings.lesion_free:
        for centre in rng.choice(case.body, LESION_FREE_TRIES):
            box = _box_around(centre, case.shape, settings.size)
            if not any(box.meets(component.box) for component in case.components):
                return box, True
    if case.components and rng.random() < settings.positive:
        centre = _voxel_of_a_lesion(case, rng, settings) + _shift(rng, settings)
    elif rng.random() < settings.in_patient:
        centre = rng.choice(case.body)
    else:
        centre = rng.integers(case.shape)
    return _box_around(centre, case.shape, settings.size), False


def read_crop(case: PreparedCase, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Read a crop. Voxels beyond the volume are air; voxels that are not finite become 0.

    Returns
    -------
    image : ndarray
        float32 [C, X, Y, Z]: SUV, and HU where the CT is a channel.
    label : ndarray
        uint8 [X, Y, Z].
    """
    inside = box.clipped(Box.whole(case.shape))
    image, label = case.read(inside)
    if inside != box:
        there = inside.relative_to(box).slices
        padded_image, padded_label = np.empty((len(image), *box.shape), np.float32), np.zeros(box.shape, np.uint8)
        for padded, channel, values in zip(padded_image, case.channels.names, image, strict=True):
            padded[...] = AIR[channel]
            padded[there] = values
        padded_label[there] = label
        image, label = padded_image, padded_label
    return np.nan_to_num(image, copy=False, nan=0.0, posinf=0.0, neginf=0.0), label


def flip_and_rotate(
    image: np.ndarray, label: np.ndarray, rng: np.random.Generator, settings: CropSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Flip a crop and rotate it about the body axis, at random.

    The rotation is by 90, 180 or 270 degrees; only by 180 where x and y have different numbers of voxels, so that the
    crop keeps its shape.

    Parameters
    ----------
    image, label
        [C, X, Y, Z] and [X, Y, Z].

    Returns
    -------
    image, label : ndarray
        Of the same shapes, contiguous.
    """
    flipped = tuple(axis for axis in (-3, -2, -1) if rng.random() < settings.flip)
    quarters = 0
    if rng.random() < settings.rotate:
        quarters = int(rng.integers(1, 4)) if label.shape[0] == label.shape[1] else 2
    image, label = (np.rot90(np.flip(array, flipped), quarters, (-3, -2)) for array in (image, label))
    return np.ascontiguousarray(image), np.ascontiguousarray(label)


def to_network_input(image: np.ndarray, case: PreparedCase, preprocessing: Preprocessing) -> np.ndarray:
    """Map SUV by the scale of the case, and HU by that of the preprocessing, to [0, 1], with clipping.

    Parameters
    ----------
    image
        float32 [C, X, Y, Z] in SUV and HU.

    Returns
    -------
    ndarray
        float32, of the same shape.
    """
    scaled = np.empty_like(image)
    ranges = {"pet": case.suv_scale, "ct": preprocessing.ct_hu}
    for target, values, channel in zip(scaled, image, case.channels.names, strict=True):
        low, high = ranges[channel]
        np.subtract(values, np.float32(low), out=target)
        target *= np.float32(1 / (high - low))
        np.clip(target, 0.0, 1.0, out=target)
    return scaled


def _voxel_of_a_lesion(case: PreparedCase, rng: np.random.Generator, settings: CropSettings) -> np.ndarray:
    weights = np.array([float(lesion.voxels) for lesion in case.components]) ** (1 - settings.small_lesion_exponent)
    lesion = case.components[int(rng.choice(len(weights), p=weights / weights.sum()))]
    voxel: np.ndarray = rng.choice(lesion.sample)
    return voxel


def _shift(rng: np.random.Generator, settings: CropSettings) -> np.ndarray:
    """Sample a shift of a crop, in voxels, that keeps the voxel in its middle inside."""
    sides = np.array(settings.size)
    furthest = (settings.jitter * sides).astype(int)
    # The middle of a side of 4 is voxel 2: from there it is two steps to one end and one to the other.
    shift: np.ndarray = rng.integers(
        -np.minimum(furthest, sides - 1 - sides // 2), np.minimum(furthest, sides // 2) + 1
    )
    return shift


def _box_around(centre: np.ndarray, shape: Triple, size: Triple) -> Box:
    """Return a box of a size around a voxel, moved into the volume where it fits."""
    start = [
        min(max(int(middle) - wanted // 2, 0), side - wanted) if wanted <= side else -((wanted - side) // 2)
        for middle, wanted, side in zip(centre, size, shape, strict=True)
    ]
    return Box.at(start, size)
