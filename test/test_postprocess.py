from __future__ import annotations

import pytest
import torch

from swfastedit_core.postprocess import consensus, hard_vote, probability


def test_vote_and_probability_of_one_network():
    logits = torch.tensor([-1.0, 0.0, 1.0])
    assert hard_vote(logits).tolist() == [0, 0, 1]
    assert hard_vote(logits).dtype == torch.uint8
    assert probability(logits).tolist() == pytest.approx([0.26894142, 0.5, 0.73105858])


def test_consensus_needs_more_than_half():
    assert consensus(torch.tensor([1, 2, 3], dtype=torch.uint8), 3).tolist() == [False, True, True]
    assert consensus(torch.tensor([1, 2, 3], dtype=torch.uint8), 4).tolist() == [False, False, True]
    assert consensus(torch.tensor([0.99, 1.01]), 2).tolist() == [False, True]
