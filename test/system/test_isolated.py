"""A map over items in separate processes."""

from __future__ import annotations

import time

import pytest

from swfastedit_core.system.isolated import map_isolated


@pytest.mark.long
def test_a_signal_does_not_wait_for_the_items_in_work():
    results = map_isolated(time.sleep, [0, 60], workers=2)
    assert next(results) == (0, None)
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt)
    assert time.perf_counter() - start < 20
