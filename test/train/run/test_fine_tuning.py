"""The terms of fine-tuned weights."""

from __future__ import annotations

import pytest

from swfastedit_core.checkpoint import CheckpointConfig
from swfastedit_core.model import NetworkConfig
from swfastedit_core.train.run.fine_tuning import with_terms_of_origin

DEMO = {"licence": "CC BY 3.0", "attribution": "Vallières 2015", "demonstration": True}


def terms(config):
    return config.licence, config.attribution, config.demonstration


@pytest.mark.parametrize(
    ("own", "origin", "expected"),
    [
        ({}, None, ("unknown", "", False)),
        ({}, DEMO, ("CC BY 3.0", "Vallières 2015", True)),
        ({"licence": "MIT", "attribution": "me"}, DEMO, ("MIT", "me", True)),
        ({"demonstration": True}, {**DEMO, "demonstration": False}, ("CC BY 3.0", "Vallières 2015", True)),
    ],
)
def test_terms_that_a_run_does_not_name_are_those_of_its_initial_weights(own, origin, expected):
    assert terms(with_terms_of_origin(CheckpointConfig(NetworkConfig(), **own), origin)) == expected
