import sys

import numpy as np
import pytest

from swfastedit_core.system.memory import peak_memory_mb, reset_peak_memory

MB = 10**6


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can start to measure the peak again")
def test_peak_is_that_since_the_reset():
    array = np.ones(300 * MB, np.uint8)
    high = peak_memory_mb()
    del array
    reset_peak_memory()
    low = peak_memory_mb()
    assert low < high - 250
    array = np.ones(150 * MB, np.uint8)
    assert 130 < peak_memory_mb() - low < 200
    del array
    assert peak_memory_mb() > low + 130  # the peak stays
