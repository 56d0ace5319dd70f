"""Crops: the position of a crop, its voxels, flips and rotations, and the network input.

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

AIR = (0.0, AIR_HU)  # SUV and HU around a volume that is smaller than the crop, in the order of the channels
LESION_FREE_TRIES = 20


@dataclass(frozen=True)
class CropSettings:
    """Size and position of crops, flips and rotations; the defaults are the recipe's.

    Attributes
    ----------
    size
        Voxels along x, y, z.
    positive
        Share of crops centred on a voxel of a lesion, where the case has one.
    in_patient
        Of the other crops, the share centred on a voxel of the patient. The rest has a random position, air included.
    small_lesion_preference
        x: a lesion of n voxels is sampled with a probability proportional to ``n ** (1 - x)``. 0: in proportion to its
        volume. 1: all lesions equally often.
    jitter
        A positive crop is shifted along each axis at random, by at most this share of its side (at most 0.5). So a
        lesion is not always in the middle.
    lesion_free
        Share of crops that are centred in the patient and contain no lesion, like most windows in inference. If no
        such position is found, the crop is sampled as usual.
    flip
        Probability of a flip, for each axis.
    rotate
        Probability of a rotation by a multiple of 90 degrees about z.
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
    small_lesion_preference: float = setting(
        0.0,
        "--small-lesions",
        "0 samples lesions in proportion to their volume, 1 samples all lesions equally often",
        metavar="X",
        check=SHARE,
    )
    jitter: float = setting(
        0.0,
        "--jitter",
        "largest random shift of a crop around a lesion, as a share of its side (0 to 0.5)",
        metavar="X",
        check=each_number(lambda share: 0 <= share <= 0.5, "a number from 0 to 0.5"),
    )
    lesion_free: float = setting(
        0.0,
        "--lesion-free",
        "share of crops that are centred in the patient and contain no lesion",
        metavar="P",
        check=SHARE,
    )
    flip: float = setting(0.1, "--flip", "probability of a flip, for each axis", metavar="P", check=SHARE)
    rotate: float = setting(
        0.1, "--rotate", "probability of a rotation by a multiple of 90 degrees about z", metavar="P", check=SHARE
    )

    def __post_init__(self) -> None:
        require_valid(self)


def sample_box(case: PreparedCase, rng: np.random.Generator, settings: CropSettings) -> tuple[Box, bool]:
    """Sample the position of a crop.

    Returns
    -------
    box : Box
        Of `settings.size`, inside the volume. If the volume is smaller along an axis, the box is centred on it: it
        starts before voxel 0 and ends after the last voxel.
    lesion_free : bool
        Whether the crop must stay free of lesions: no lesion is transplanted into it.
    """
    if rng.random() < settings.lesion_free:
        for centre in rng.choice(case.body, LESION_FREE_TRIES):
            box = _make_box_around(centre, case.shape, settings.size)
            if not any(box.meets(component.box) for component in case.components):
                return box, True
    if case.components and rng.random() < settings.positive:
        centre = _sample_lesion_voxel(case, rng, settings) + _sample_shift(rng, settings)
    elif rng.random() < settings.in_patient:
        centre = rng.choice(case.body)
    else:
        centre = rng.integers(case.shape)
    return _make_box_around(centre, case.shape, settings.size), False


def read_crop(case: PreparedCase, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Read a crop. Voxels outside the volume are air; voxels that are not finite become 0.

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
        for padded, air, values in zip(padded_image, AIR, image, strict=False):
            padded[...] = air
            padded[there] = values
        padded_label[there] = label
        image, label = padded_image, padded_label
    return np.nan_to_num(image, copy=False, nan=0.0, posinf=0.0, neginf=0.0), label


def flip_and_rotate(
    image: np.ndarray, label: np.ndarray, rng: np.random.Generator, settings: CropSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Flip a crop and rotate it about z, at random.

    The rotation is by 90, 180 or 270 degrees. If x and y have different numbers of voxels, it is by 180 degrees: the
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
    """Map SUV and HU to [0, 1], with clipping.

    The SUV range comes from the case, the HU range from the preprocessing.

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
    ranges = (case.suv_scale, preprocessing.ct_hu)  # of the PET, and of the CT if there is one
    for target, values, (low, high) in zip(scaled, image, ranges, strict=False):
        np.subtract(values, np.float32(low), out=target)
        target *= np.float32(1 / (high - low))
        np.clip(target, 0.0, 1.0, out=target)
    return scaled


def _sample_lesion_voxel(case: PreparedCase, rng: np.random.Generator, settings: CropSettings) -> np.ndarray:
    weights = np.array([float(lesion.voxels) for lesion in case.components]) ** (1 - settings.small_lesion_preference)
    lesion = case.components[int(rng.choice(len(weights), p=weights / weights.sum()))]
    voxel: np.ndarray = rng.choice(lesion.sample)
    return voxel


def _sample_shift(rng: np.random.Generator, settings: CropSettings) -> np.ndarray:
    """Sample a shift in voxels. The lesion voxel in the middle stays inside the shifted crop."""
    sides = np.array(settings.size)
    max_shift = (settings.jitter * sides).astype(int)
    # The middle of a side of 4 is voxel 2: from there it is two steps to one end and one to the other.
    shift: np.ndarray = rng.integers(
        -np.minimum(max_shift, sides - 1 - sides // 2), np.minimum(max_shift, sides // 2) + 1
    )
    return shift


def _make_box_around(centre: np.ndarray, shape: Triple, size: Triple) -> Box:
    """Return a box of this size around a voxel. If the volume is large enough, the box is moved inside."""
    start = [
        min(max(int(middle) - wanted // 2, 0), side - wanted) if wanted <= side else -((wanted - side) // 2)
        for middle, wanted, side in zip(centre, size, shape, strict=True)
    ]
    return Box.at(start, size)
