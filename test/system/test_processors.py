from __future__ import annotations

import os
import subprocess
import sys

import pytest
from places import ROOT

from swfastedit_core.system.processors import available_cpus


@pytest.fixture
def sixteen(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)))


def groups(folder, lines, **quotas):
    """Write control groups: `lines` of /proc/self/cgroup, and files by their path with __ for a slash."""
    (folder / "cgroup").write_text(lines)
    mount = folder / "mount"
    for name, text in quotas.items():
        path = mount / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {"files": folder / "cgroup", "mount": mount}


@pytest.mark.usefixtures("sixteen")
@pytest.mark.parametrize(
    ("lines", "quotas", "expected"),
    [
        ("0::/\n", {"cpu_DOT_max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu_DOT_max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu_DOT_max": "10000 100000\n"}, 1),
        ("0::/\n", {"cpu_DOT_max": "max 100000\n"}, 16),
        ("0::/\n", {"cpu_DOT_max": "9900000 100000\n"}, 16),
        ("0::/\n", {"cpu_DOT_max": "what\n"}, 16),
        ("0::/\n", {}, 16),
        # the tightest of a group and those above it
        ("0::/a/b\n", {"a__b__cpu_DOT_max": "max 100000", "a__cpu_DOT_max": "300000 100000"}, 3),
        ("0::/a/b\n", {"a__b__cpu_DOT_max": "500000 100000", "a__cpu_DOT_max": "max 100000"}, 5),
        # the host's path, of which a container shows the top only
        ("0::/docker/123\n", {"cpu_DOT_max": "400000 100000"}, 4),
        # version 1, beside other controllers
        (
            "5:memory:/x\n4:cpu,cpuacct:/x\n",
            {"cpu__x__cpu_DOT_cfs_quota_us": "250000\n", "cpu__x__cpu_DOT_cfs_period_us": "100000\n"},
            3,
        ),
        (
            "4:cpuset:/\n3:cpu:/\n",
            {"cpu__cpu_DOT_cfs_quota_us": "-1\n", "cpu__cpu_DOT_cfs_period_us": "100000\n"},
            16,
        ),
    ],
)
def test_quota_of_the_control_group_counts(lines, quotas, expected, tmp_path):
    assert available_cpus(**groups(tmp_path, lines, **quotas)) == expected


def test_affinity_counts_without_a_control_group(tmp_path):
    code = (
        "import os, pathlib; from swfastedit_core.system.processors import available_cpus;"
        "os.sched_setaffinity(0, {0});"
        "print(available_cpus(files=pathlib.Path('none'), mount=pathlib.Path('none')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_this_machine_has_at_least_one_and_at_most_all():
    assert 1 <= available_cpus() <= os.cpu_count()
