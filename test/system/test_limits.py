"""Limits of memory, and the line about them."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
from places import ROOT

from swfastedit_core.errors import UserError, is_out_of_memory
from swfastedit_core.system.limits import LeastMemory, read_limits, require_memory_limits
from swfastedit_core.system.memory import usable_memory_bytes

PAGE = resource.getpagesize()


@pytest.fixture
def limited(monkeypatch, tmp_path):
    """Return a function that sets both limits, in pages, of a process that uses 300 and 200 pages."""
    (tmp_path / "statm").write_text("300 40 30 20 0 200 0\n")

    def limit(address_space, data):
        pages = {resource.RLIMIT_AS: address_space, resource.RLIMIT_DATA: data}
        of_kind = {kind: resource.RLIM_INFINITY if size is None else size * PAGE for kind, size in pages.items()}
        monkeypatch.setattr(resource, "getrlimit", lambda kind: (of_kind[kind], resource.RLIM_INFINITY))
        return tmp_path / "statm"

    return limit


def test_what_is_left_is_the_limit_without_what_is_used(limited):
    found = read_limits(statm=limited(1000, 250))
    assert [(one.option, one.limit_bytes, one.left_bytes) for one in found] == [
        ("-v", 1000 * PAGE, 700 * PAGE),
        ("-d", 250 * PAGE, 50 * PAGE),
    ]
    assert read_limits(statm=limited(None, None)) == []
    assert [one.left_bytes for one in read_limits(statm=limited(None, 100))] == [0]


def test_program_is_refused_by_the_limit_that_is_too_low(limited):
    least = LeastMemory(address_space=10**9, data=10**8)
    require_memory_limits(least, statm=limited(10**9 // PAGE * 2, 10**8 // PAGE * 2))
    statm = limited(None, 10**7 // PAGE)
    with pytest.raises(UserError, match=r"^out of memory: .* 0\.0 GB \(ulimit -d\), and the program needs 0\.1 GB"):
        require_memory_limits(least, statm=statm)


def test_limit_counts_as_memory_that_can_be_used(limited, tmp_path):
    (tmp_path / "meminfo").write_text("MemAvailable: 90000000 kB\nSwapFree: 0 kB\n")
    no_groups = {"files": tmp_path / "none", "mount": tmp_path, "meminfo": tmp_path / "meminfo"}
    limited(None, None)
    assert usable_memory_bytes(**no_groups) == 90_000_000 * 1024
    limited(0, None)
    assert usable_memory_bytes(**no_groups) == 0


def test_library_that_cannot_be_loaded_for_lack_of_memory_is_told_as_that():
    assert is_out_of_memory(ImportError("libtorch_cpu.so: failed to map segment from shared object"))
    assert is_out_of_memory(ImportError("libx.so: cannot map zero-fill pages"))
    assert not is_out_of_memory(ImportError("libx.so: undefined symbol: y"))


@pytest.mark.parametrize(
    "program", ["process.py", *(f"-m swfastedit_core.{name}" for name in ("train", "checkpoint", "phantom"))]
)
@pytest.mark.parametrize("limit", ["-v 200000", "-d 100000"])
def test_tiny_memory_ends_a_command_with_one_line(program, limit):
    command = f"ulimit {limit}; exec {sys.executable} {program} --output nowhere"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("out of memory: ")
    assert done.stderr.count("\n") == 1
