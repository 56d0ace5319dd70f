"""What hatchling cannot read from pyproject.toml: the requirements, and the weights that a wheel brings.

`requirements.txt` is the one place of the versions. A wheel holds the folder `weights` as `swfastedit_core/weights`; an
editable installation reads it from the clone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

PYPI_CUDA = ("cupy-cuda12x", "cupy-cuda13x")  # the container's, and the one for the torch of PyPI
TRAINING = "# For training"  # requirements.txt: the lines below are needed for training, evaluation and pictures only


class Requirements(MetadataHookInterface):
    """Split requirements.txt into what segmentation needs and the extras ``gpu`` and ``train``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the dependencies to the metadata of the project."""
        lines = Path(self.root, "requirements.txt").read_text(encoding="utf-8").splitlines()
        end = next(number for number, line in enumerate(lines) if line.startswith(TRAINING))
        segmentation, training = _requirements(lines[:end]), _requirements(lines[end:])
        gpu = [line.replace(*PYPI_CUDA) for line in segmentation if line.startswith("cupy")]
        metadata["dependencies"] = [line for line in segmentation if not line.startswith("cupy")]
        metadata["optional-dependencies"] = {"gpu": gpu, "train": training}


class Weights(BuildHookInterface):
    """Put the weights into the wheel, beside the code that reads them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the folder; `version` is ``editable`` for ``pip install -e``."""
        if self.target_name == "wheel" and version != "editable":
            build_data["force_include"][str(Path(self.root, "weights"))] = "swfastedit_core/weights"


def _requirements(lines: list[str]) -> list[str]:
    """Leave out comments and empty lines."""
    return [line for line in lines if line and not line.startswith("#")]
