"""From logits to a mask: one network's vote or probability, and the decision of an ensemble."""

from __future__ import annotations

import torch
from torch import Tensor


def hard_vote(logits: Tensor) -> Tensor:
    """One network's argmax: uint8 1 where the tumour's logit is the larger, same shape."""
    return (logits > 0).to(torch.uint8)


def probability(logits: Tensor) -> Tensor:
    """One network's softmax: float32 probability of tumour, same shape."""
    return torch.sigmoid(logits)


def consensus(total: Tensor, networks: int) -> Tensor:
    """Combine summed opinions of an ensemble: tumour where their mean is above one half.

    Parameters
    ----------
    total
        Sum of `hard_vote` (majority vote; a tie is background) or of `probability` (mean of probabilities).
    networks
        Number of opinions in the sum.

    Returns
    -------
    Tensor
        bool, same shape and device.
    """
    return total > networks / 2
