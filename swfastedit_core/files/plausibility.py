"""Whether values look like a PET in SUV or like something else: one sentence for each doubt."""

from __future__ import annotations

import math

import numpy as np

from swfastedit_core.volume import Geometry

MAX_SUV = 1000.0  # higher values are hardly SUV
SMALLEST_MM = 100.0  # of a scan along an axis: a thin slab of a body
WHOLE_BODY_MM = 500.0  # from head to foot; a shorter scan may be nearly all bladder, or nearly all tumour
SAMPLE = 500_000  # voxels that percentiles are taken of
# The mean over voxels above a tenth of the 99.5th percentile. Over a body the mean SUV is about 1 by definition. The
# real scans at hand have 0.87; after division by the maximum 0.01 is left, and in kBq/ml it is about 5.
TENTH_OF = 99.5
MEAN_SUV = (0.2, 2.5)
NEGATIVE, NEGATIVE_SHARE = -0.2, 0.01  # reconstructions leave few negative values, z-scores make a quarter of a scan so
AIR_BELOW_HU = -500.0  # every CT shows air around the patient
HIGHEST_HU = 32_000.0  # above any metal


def doubts_about_pet(suv: np.ndarray, geometry: Geometry, *, stored: np.dtype, low: float, high: float) -> list[str]:
    """Say what speaks against a PET in SUV.

    Parameters
    ----------
    suv
        float32 [Z, Y, X], finite.
    geometry
        Its grid.
    stored
        Type of the numbers in the file, where they are not scaled.
    low, high
        Lowest and highest value.

    Returns
    -------
    list of str
        At most one sentence each for the extent and the values, without the file's name; empty for a PET in SUV.
    """
    doubts = doubts_about_extent(geometry)
    if low == high:
        return [*doubts, f"every voxel is {low:g}, there is no image in it"] if suv.size > 1 else doubts
    sample = _sample(suv)
    if (low, high) == (0.0, 1.0) and set(np.unique(sample).tolist()) <= {0.0, 1.0}:
        return [*doubts, "every voxel is 0 or 1; is it a mask and not a PET?"]
    negative = float(np.count_nonzero(sample < NEGATIVE)) / sample.size
    if stored.itemsize == 1:
        doubts.append(
            "the values are whole numbers of 8 bits, and SUV have fractions; was the scan exported as grey levels?"
        )
    elif low < AIR_BELOW_HU and high < HIGHEST_HU:
        doubts.append(f"minimum {low:,.0f} is no SUV; is it a CT in HU? Name the PET with --pet and the CT with --ct")
    elif high > MAX_SUV:
        doubts.append(f"maximum {high:,.0f} is hardly an SUV; is the file in Bq/ml? Convert it to SUV first")
    elif negative > NEGATIVE_SHARE:
        doubts.append(
            f"{100 * negative:.0f} % of the voxels are below {NEGATIVE:g}, and SUV are not negative; was the scan "
            "normalised (z-scores)? Give it in SUV"
        )
    elif head_to_foot_mm(geometry) > WHOLE_BODY_MM:
        doubts += _doubt_about_mean(sample)
    return doubts


def doubts_about_extent(geometry: Geometry) -> list[str]:
    """Say whether a grid is too small for a body: at most one sentence, without the file's name."""
    if min(geometry.extent_mm) >= SMALLEST_MM:
        return []
    in_words = " × ".join(f"{mm / 10:.3g}" for mm in geometry.extent_mm)
    return [f"the scan measures {in_words} cm by its header, hardly a body; is the voxel spacing in mm?"]


def head_to_foot_mm(geometry: Geometry) -> float:
    """Return the extent along the array axis closest to the patient's head-foot axis."""
    axis = int(np.abs(geometry.axes_lps[2]).argmax())
    return geometry.extent_mm[axis]


def _doubt_about_mean(sample: np.ndarray) -> list[str]:
    peak = float(np.percentile(sample, TENTH_OF))
    if peak <= 0:
        return []
    mean = float(sample[sample > peak / 10].mean())
    low, high = MEAN_SUV
    if mean > high:
        return [
            f"the mean over the body is {mean:.2g}, and about 1 in SUV; is the file in kBq/ml? Convert it to SUV first"
        ]
    if mean < low:
        return [
            f"the mean over the body is {mean:.2g}, and about 1 in SUV; were the values divided by their maximum? "
            "Give the scan in SUV"
        ]
    return []


def _sample(values: np.ndarray) -> np.ndarray:
    """Return about `SAMPLE` voxels from all over the volume."""
    flat = values.reshape(-1)
    step = max(1, flat.size // SAMPLE)
    while math.gcd(step, values.shape[-1] * values.shape[-2]) != 1:  # not the same column of every row
        step += 1
    return flat[::step]
