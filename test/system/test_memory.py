import sys

import numpy as np
import pytest

from swfastedit_core.system.memory import peak_memory_mb, reset_peak_memory, usable_memory_bytes

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


@pytest.mark.parametrize(
    ("lines", "limits", "expected"),
    [
        ("0::/\n", {}, 6144),
        ("0::/\n", {"memory.max": "max\n"}, 6144),
        ("0::/\n", {"memory.max": "5000\n"}, 5000),
        ("0::/a/b\n", {"memory.max": "5000\n", "a/memory.max": "3000\n", "a/b/memory.max": "max\n"}, 3000),
        ("0::/\n", {"memory.max": "9000\n"}, 6144),
        ("0::/\n", {"memory.max": "9000\n", "memory.stat": "anon 6500\nfile 900\n"}, 2500),
        ("5:memory:/x\n", {"memory/memory.limit_in_bytes": "4000\n"}, 4000),
        ("5:cpu:/\n", {"memory/memory.limit_in_bytes": "4000\n"}, 6144),
    ],
)
def test_usable_memory_is_what_is_free_or_the_limit_of_a_control_group(lines, limits, expected, tmp_path):
    (tmp_path / "cgroup").write_text(lines)
    (tmp_path / "meminfo").write_text("MemTotal: 90 kB\nMemAvailable: 5 kB\nSwapFree: 1 kB\n")
    for name, text in limits.items():
        (tmp_path / "mount" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mount" / name).write_text(text)
    how = {"files": tmp_path / "cgroup", "mount": tmp_path / "mount"}
    assert usable_memory_bytes(meminfo=tmp_path / "meminfo", **how) == expected
    assert usable_memory_bytes(meminfo=tmp_path / "none", **how) is None
