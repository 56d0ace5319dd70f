"""`.ci/remove_unused.py`, which the image runs on its packages."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from clones import put
from places import ROOT

SCRIPT = ROOT / ".ci/remove_unused.py"
PACKAGES = Path(sysconfig.get_path("platlib"))
# Imports what process.py imports, also late, runs OpenVINO, and prints the files of all modules and libraries.
LOADED = """
import pkgutil, sys
from pathlib import Path
import swfastedit_core, process
for module in pkgutil.walk_packages(swfastedit_core.__path__, "swfastedit_core."):
    if module.name.split(".")[1] not in ("evaluate", "phantom", "report", "train") and "__main__" not in module.name:
        __import__(module.name)
from trial.probe import convolve_with_openvino
assert convolve_with_openvino() == 27.0
print(*(file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))), sep="\\n")
maps = Path("/proc/self/maps")
if maps.is_file():
    print(*(line.split(maxsplit=5)[5] for line in maps.read_text().splitlines() if "/" in line), sep="\\n")
"""


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("remove_unused", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(sys.platform != "linux", reason="the packages of the image are those of Linux")
def test_every_pattern_finds_something_in_the_pinned_packages(script):
    assert [pattern for pattern, found in script.find_unused(PACKAGES).items() if not found] == []


def test_nothing_that_the_program_loads_is_removed(script):
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'test')]}\n{LOADED}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {Path(line) for line in done.stdout.splitlines()}
    assert any(path.match("openvino/__init__.py") for path in loaded)
    assert any(path.match("scipy/ndimage/*") for path in loaded)
    removed = {path for paths in script.find_unused(PACKAGES).values() for path in paths}
    assert [path for path in sorted(loaded) if removed & {path, *path.parents}] == []


def test_only_unused_files_are_removed_and_what_is_missing_is_no_error(tmp_path):
    kept = ["openvino/__init__.py", "openvino/libs/libopenvino_intel_cpu_plugin.so", "numpy/testing/__init__.py"]
    kept += ["openvino/libs/libopenvino_ir_frontend.so.2640", "cupy/_core/include/cupy/carray.cuh", "cupy/tests/x.py"]
    removed = ["openvino/libs/libopenvino_intel_gpu_plugin.so", "openvino/libs/libopenvino_onnx_frontend.so.2640"]
    removed += ["openvino/include/openvino/core.hpp", "numpy/_core/tests/data/x.npy", "numpy/tests/__init__.py"]
    for name in (*kept, *removed):
        put(tmp_path / name, "1000" * 250_000)
    for count in (len(removed), 0):
        done = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=False)
        said = f"{tmp_path}: removed {count} unused files, {count} MB\n"
        assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
        assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


def test_image_removes_them_in_the_layer_that_installs_them():
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    (layer,) = (" ".join(line.split()) for line in text.splitlines() if "pip install" in line)
    assert layer.index(" && python remove_unused.py ") > layer.rindex("pip install")
