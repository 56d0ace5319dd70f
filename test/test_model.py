from __future__ import annotations

import pytest

from swfastedit_core.model import NetworkConfig


@pytest.mark.parametrize(
    ("window", "accepted"),
    [
        ((64, 32, 16), True),
        ((32, 32, 32), True),
        ((32, 32, 16), False),  # one voxel on the deepest level
        ((64, 32, 24), False),
        ((64, 48, 32), False),
        ((64, 32, 0), False),
        ((-64, 64, 64), False),
    ],
)
def test_window_has_multiples_of_the_strides_and_two_voxels_on_the_deepest_level(window, accepted):
    network = NetworkConfig("dynunet")
    assert network.divisor_xyz == (32, 32, 16)
    assert network.accepts(window) is accepted
