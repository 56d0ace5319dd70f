"""Remove from installed packages what the program never reads: ``python remove_unused.py SITE_PACKAGES``.

The image runs this in the layer that installs the packages. A pattern without a match is no error.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

UNUSED = (
    "openvino/libs/libopenvino_intel_gpu_plugin.so*",
    "openvino/libs/libopenvino_intel_npu_plugin.so*",
    "openvino/libs/cache.json",  # of the GPU plug-in
    "openvino/libs/libopenvino_*_frontend.so*",  # readers of model files; the program builds its graphs itself
    "openvino/include",
    "openvino/cmake",
    "numpy/**/tests",
    "scipy/**/tests",
)
KEPT = ("openvino/libs/libopenvino_ir_frontend.so*",)  # reads OpenVINO's own format, as from a cache of compiled graphs


def find_unused(packages: Path) -> dict[str, list[Path]]:
    """Return the files and folders to remove, by pattern."""
    kept = {path for pattern in KEPT for path in packages.glob(pattern)}
    return {pattern: sorted(set(packages.glob(pattern)) - kept) for pattern in UNUSED}


def main(packages: Path) -> None:
    """Remove the files; print how many there were, and their size."""
    files = bytes_ = 0
    for path in (path for paths in find_unused(packages).values() for path in paths):
        inside = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        files, bytes_ = files + len(inside), bytes_ + sum(file.stat().st_size for file in inside)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    print(f"{packages}: removed {files} unused files, {bytes_ / 1e6:.0f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
