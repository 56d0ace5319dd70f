"""Lesion segmentation in whole-body FDG-PET: the core that `process.py`, the container and Python users share.

>>> from swfastedit_core import load_networks, read_volume, segment, write_mask
>>> result = segment(read_volume("pet.mha"), load_networks("weights"))
>>> write_mask(result.mask, "lesions.mha")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swfastedit_core.lazy import imported_on_use

if TYPE_CHECKING:
    from swfastedit_core.engine.ensemble import Ensemble, load_networks
    from swfastedit_core.errors import DataWarning, UserError
    from swfastedit_core.files.read import read_ct, read_label, read_volume
    from swfastedit_core.files.write import write_mask, write_volume
    from swfastedit_core.pipeline import Segmentation, segment
    from swfastedit_core.volume import Geometry, Volume

__all__ = [
    "DataWarning",
    "Ensemble",
    "Geometry",
    "Segmentation",
    "UserError",
    "Volume",
    "load_networks",
    "read_ct",
    "read_label",
    "read_volume",
    "segment",
    "write_mask",
    "write_volume",
]
__version__ = "0.1.0"

_MODULES = {
    "DataWarning": "errors",
    "UserError": "errors",
    "Segmentation": "pipeline",
    "Ensemble": "engine.ensemble",
    "load_networks": "engine.ensemble",
    "segment": "pipeline",
    "Geometry": "volume",
    "Volume": "volume",
    "read_ct": "files.read",
    "read_label": "files.read",
    "read_volume": "files.read",
    "write_mask": "files.write",
    "write_volume": "files.write",
}
__getattr__ = imported_on_use(__name__, _MODULES)
