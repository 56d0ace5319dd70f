"""How much two masks have in common."""

from __future__ import annotations

import numpy as np


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Dice of two masks of one shape; 1 where both are empty."""
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return float(2 * np.count_nonzero(one & other) / total) if total else 1.0
