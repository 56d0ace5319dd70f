from __future__ import annotations

import json
import os
import subprocess
import sys

import torch
from trial import probe
from trial.checks import ONES
from trial.table import PROBE
from trial_examples import FOUND_LIMITS

TORCH = """
class version:
    cuda = "12.6"
class cuda:
    get_arch_list = lambda: ["sm_75", "sm_90"]
"""


def test_probe_prints_what_the_checks_need_and_imports_nothing_of_this_package(tmp_path):
    (tmp_path / "torch.py").write_text(TORCH)
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, cwd=tmp_path)
    found = json.loads(done.stdout)
    assert found.keys() == {"uid", "limits", "cuda", "architectures", "openvino"}
    assert found["openvino"] == ONES
    assert (found["uid"], found["cuda"], found["architectures"]) == (os.getuid(), "12.6", ["sm_75", "sm_90"])
    assert found["limits"].keys() == FOUND_LIMITS.keys()
    same = probe.read_limits().items()
    assert {name: found["limits"][name] for name, _ in same if name[0] != "/"} == {
        name: value for name, value in same if name[0] != "/"
    }


def test_build_of_torch_is_that_of_the_installed_torch():
    assert probe.read_torch_build() == {"cuda": torch.version.cuda, "architectures": torch.cuda.get_arch_list()}


def test_openvino_without_its_plugin_is_the_reason_in_one_line(tmp_path):
    (tmp_path / "torch.py").write_text(TORCH)
    (tmp_path / "openvino.py").write_text("raise ImportError('libopenvino.so: cannot open\\nshared object file')\n")
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout)["openvino"] == "ImportError: libopenvino.so: cannot open shared object file"


def test_folder_is_described_by_link_mode_access_and_content(tmp_path):
    folder = tmp_path / "folder"
    assert probe.describe_folder(folder) == "no folder"
    folder.mkdir()
    folder.chmod(0o750)
    assert probe.describe_folder(folder) == "750, writable, empty"
    (folder / "b").touch()
    (folder / "a").mkdir()
    (tmp_path / "link").symlink_to(folder)
    assert probe.describe_folder(tmp_path / "link") == f"link to {folder}, 750, writable, a, b"


def test_first_file_counts_and_words_stay_words(tmp_path):
    (tmp_path / "v1").write_text("17\n")
    assert probe.read_first(tmp_path / "v2", tmp_path / "v1") == "17"
    assert probe.read_first(tmp_path / "v2") == ""
    assert [probe.parse_number(text) for text in ("17", "max", "")] == [17, "max", "unknown"]
