"""Random number of clicks of a training crop."""

from __future__ import annotations

import numpy as np


def click_number_probabilities(most: int = 10) -> np.ndarray:
    """Return the probability of each number of clicks, float64 [most + 1]: p(k) ∝ ln(most + 2 − k).

    Few clicks are more likely than many: with 10, none has 12 % and ten have 3.5 %.

    Parameters
    ----------
    most
        Largest number of clicks. With 0, the probability of 0 is 1.

    Notes
    -----
    Source: the winner of autoPET IV, MIC-DKFZ/autoPET-interactive, data_loader_clicks.py.
    """
    weights = np.log(most + 2.0 - np.arange(most + 1))
    probabilities: np.ndarray = weights / weights.sum()
    return probabilities


def sample_click_number(rng: np.random.Generator, most: int = 10) -> int:
    """Return a random number of clicks from 0 to `most`; see `click_number_probabilities`."""
    return int(rng.choice(most + 1, p=click_number_probabilities(most)))
